//! The HTTPS port. It serves the DPS device API, the service APIs, and MQTT over WebSocket.

mod origin;
mod websocket;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::doors::admission::{ConnectionEntry, RequestSlot};
use crate::doors::http::{Aborted, Pace, Reply, Timed, flushed, to_http};
use crate::doors::{dps_https, mqtt, service_https};
use crate::services::cloud::Cloud;
use crate::services::presented::PresentedChain;
use crate::state::journal::{EventKind, EventSource, Note};

/// Time limit for the head of a request. It includes the idle time before the request starts.
const HEADERS: Duration = Duration::from_secs(60);

/// Maximum size of a request's head, in bytes.
const HEADERS_MAX: usize = 32 * 1024;

/// How long a client may leave a response unread.
const TAKE: Duration = Duration::from_secs(30);

/// Serves one connection until it ends. If the client upgrades to a WebSocket, serves the WebSocket too. `certificates`
/// are those that the client presented in the TLS handshake.
pub(crate) async fn serve<S>(
    cloud: Arc<Cloud>,
    stream: S,
    certificates: Option<PresentedChain>,
    entry: Arc<ConnectionEntry>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgrade: Mutex<Option<OnUpgrade>> = Mutex::default();
    let service = service_fn(|request| answer(&cloud, &entry, certificates.as_ref(), &upgrade, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADERS_MAX)
        .serve_connection(TokioIo::new(Timed::new(stream, TAKE)), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        return tracing::debug!(%error, "an HTTPS connection failed");
    }
    let upgrade = upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(upgrade) = upgrade {
        match upgrade.await {
            Ok(upgraded) => {
                let stream = hubward_ws::WebSocketStream::server(TokioIo::new(upgraded)).await;
                Box::pin(mqtt::serve(&cloud, stream, certificates, &entry)).await;
            }
            Err(error) => tracing::debug!(%error, "a WebSocket upgrade failed"),
        }
    }
}

/// Answers one request. The connection acquires a slot when the request is complete and allowed, and releases the slot
/// when the response is ready.
async fn answer(
    cloud: &Arc<Cloud>,
    entry: &Arc<ConnectionEntry>,
    certificates: Option<&PresentedChain>,
    upgrade: &Mutex<Option<OnUpgrade>>,
    request: Request<Incoming>,
) -> Result<Reply, Aborted> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(RequestSlot::new(entry));
    if let Some(certificates) = certificates {
        head.extensions.insert(certificates.clone());
    }
    match origin::check(&cloud.access, &head) {
        Ok(()) => {
            let reply = route(cloud, upgrade, Request::from_parts(head, body)).await;
            flushed(cloud, reply).await
        }
        Err(refusal) => {
            tracing::info!(path = head.uri.path(), why = refusal.message, "the HTTPS port refuses a request");
            let note = Note::new(EventKind::Refused, EventSource::Emulator).code(refusal.code);
            let call = format!("{} {}: {}", head.method, head.uri.path(), refusal.message);
            cloud.journal.note(note.message(call));
            Ok(to_http(&cloud.clock, cloud.registrar.refuse(&refusal), Pace::AtOnce))
        }
    }
}

async fn route(
    cloud: &Arc<Cloud>,
    upgrade: &Mutex<Option<OnUpgrade>>,
    mut request: Request<Incoming>,
) -> Result<Reply, Aborted> {
    if !websocket::is_upgrade(&request) {
        if service_https::is_asked(request.uri().path()) {
            return service_https::handle(cloud, request).await;
        }
        return dps_https::handle(cloud, request).await;
    }
    let on_upgrade = hyper::upgrade::on(&mut request);
    let reply = websocket::answer(cloud, &request).await?;
    if reply.status() == hyper::StatusCode::SWITCHING_PROTOCOLS {
        *upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(on_upgrade);
    }
    Ok(reply)
}
