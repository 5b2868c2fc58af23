//! The server side of a WebSocket handshake.

use std::sync::Arc;

use hubward_proto::limits::{WEBSOCKET_PATH, WEBSOCKET_SUBPROTOCOL};
use hyper::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{HeaderMap, Method, Request};
use tokio::time::sleep;

use crate::doors::http::{Aborted, Pace, Paced, Reply, add_headers, reply, to_http, value};
use crate::services::cloud::Cloud;
use crate::services::dps::Refusal;
use crate::services::faults;
use crate::state::fault::{Fault, Point};

const ENCODED_PATH: &str = "/%24iothub/websocket";

/// Whether a request asks for an upgrade to WebSocket.
pub(super) fn is_upgrade<B>(request: &Request<B>) -> bool {
    has_word(request.headers(), &UPGRADE, "websocket")
}

/// Answers a WebSocket handshake with 101 or with an error, or applies the fault that is scripted for the handshake.
///
/// Source:
///
/// * the handshake: RFC 6455, section 4.2;
/// * the paths: `[sdk]`: python, node and c ask for `/$iothub/websocket`, csharp and java ask for `/`;
/// * the subprotocol, which must be `mqtt`: MQTT 3.1.1, section 6.
pub(super) async fn answer<B>(cloud: &Arc<Cloud>, request: &Request<B>) -> Result<Reply, Aborted> {
    let registrar = &cloud.registrar;
    match faults::take(cloud, Point::WebSocketUpgrade) {
        Some(Fault::Status { status, code, message, retry_after }) => {
            let mut answer = registrar.refuse(&Refusal::new(status, code, message));
            answer.retry_after = retry_after;
            return Ok(to_http(&cloud.clock, answer, Pace::AtOnce));
        }
        Some(Fault::StatusWith { status, code, message, headers }) => {
            let answer = registrar.refuse(&Refusal::new(status, code, message));
            let mut reply = to_http(&cloud.clock, answer, Pace::AtOnce);
            add_headers(&mut reply, &headers);
            return Ok(reply);
        }
        Some(Fault::Cut) => return Err(Aborted),
        Some(Fault::Never) => std::future::pending::<()>().await,
        Some(Fault::Delay(time)) => sleep(time).await,
        _ => {}
    }
    let refuse = |refusal: &Refusal| Ok(to_http(&cloud.clock, registrar.refuse(refusal), Pace::AtOnce));
    let path = request.uri().path();
    if path != "/" && !path.eq_ignore_ascii_case(WEBSOCKET_PATH) && !path.eq_ignore_ascii_case(ENCODED_PATH) {
        return refuse(&Refusal::generic(404, "There is no WebSocket at this path."));
    }
    if request.method() != Method::GET {
        return refuse(&Refusal::generic(405, "A WebSocket handshake is a GET."));
    }
    let headers = request.headers();
    let key = headers.get(SEC_WEBSOCKET_KEY);
    let (Some(key), true) = (key, has_word(headers, &CONNECTION, "upgrade")) else {
        return refuse(&Refusal::generic(400, "The WebSocket handshake lacks a header."));
    };
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|it| it != "13") {
        let mut reply = refuse(&Refusal::generic(426, "The WebSocket version must be 13."))?;
        reply.headers_mut().insert(SEC_WEBSOCKET_VERSION, value("13"));
        return Ok(reply);
    }
    if !has_word(headers, &SEC_WEBSOCKET_PROTOCOL, WEBSOCKET_SUBPROTOCOL) {
        return refuse(&Refusal::generic(400, "The WebSocket subprotocol must be `mqtt`."));
    }
    let mut reply = reply(&cloud.clock, 101, "", Paced::default());
    let headers = reply.headers_mut();
    headers.remove(hyper::header::CONTENT_TYPE);
    headers.insert(UPGRADE, value("websocket"));
    headers.insert(CONNECTION, value("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, value(&hubward_ws::accept_key(key.as_bytes())));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, value(WEBSOCKET_SUBPROTOCOL));
    Ok(reply)
}

/// Returns whether the comma-separated list in the header `name` contains `word`. Ignores letter case.
fn has_word(headers: &HeaderMap, name: &hyper::header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| it.trim().eq_ignore_ascii_case(word))
}
