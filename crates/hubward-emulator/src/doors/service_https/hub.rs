//! The service API of a hub over HTTPS.

use hubward_proto::service::HubRefusal;
use hubward_proto::service::http::REQUEST_ID;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::ALLOW;

use super::{BODY_MAX, TOO_LARGE};
use crate::doors::admission;
use crate::doors::http::request::{self, TooLarge};
use crate::doors::http::{Aborted, Pace, Paced, Reply, is_json, reply, value};
use crate::services::api::hub::{Action, ApiResponse, CONTENT_TYPE, Form, Problem, admit, allowed, answer, form};
use crate::services::cloud::Cloud;
use crate::services::hub::Code;
use crate::state::clock::Clock;
use crate::state::wire_id;

/// Processes a request for a path that [`super::is_asked`] accepts.
///
/// If `hub` is given, the request comes from the admin port. It then needs no token and may use every operation.
/// Otherwise the request must contain a token.
pub(super) async fn handle(
    cloud: &Cloud,
    hub: Option<&str>,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Aborted> {
    let (head, body) = request.into_parts();
    let form = form(path);
    let asked = admit(cloud, hub, path, &head);
    let answer = match asked {
        Ok((_, action)) if action.has_json() && !is_json(&head.headers) => {
            Err(Problem::generic(415, "The content type must be application/json."))
        }
        // Discard the body, and give the request no connection slot. The request may belong to the device API, and the
        // emulator does not check the token of such a request.
        Ok((_, Action::NotEmulated(what))) => match request::discard(body, BODY_MAX).await? {
            Ok(()) => Err(Problem::not_emulated(what)),
            Err(TooLarge) => Err(too_large()),
        },
        Ok((hub, action)) => match request::read(body, BODY_MAX).await? {
            Ok(body) => {
                admission::acquire_slot(&head.extensions).await;
                answer(cloud, &hub, &action, &head.headers, head.uri.query(), &body).await
            }
            Err(TooLarge) => Err(too_large()),
        },
        Err(problem) => Err(problem),
    };
    Ok(match answer {
        Ok(done) => done_reply(done, &cloud.clock),
        Err(problem) => {
            tracing::info!(
                path,
                code = problem.code,
                why = problem.message,
                "a hub refuses a request to its service API"
            );
            let mut reply = problem_reply(&problem, &cloud.clock, form);
            if problem.status == 405 {
                reply.headers_mut().insert(ALLOW, value(&allowed(path, "")));
            }
            reply
        }
    })
}

fn too_large() -> Problem {
    Problem::new(Code::MessageTooLarge, TOO_LARGE)
}

fn done_reply(done: ApiResponse, clock: &Clock) -> Reply {
    let mut reply = reply(clock, done.status, CONTENT_TYPE, Paced::new(done.body, Pace::AtOnce));
    reply.headers_mut().insert(REQUEST_ID, value(&wire_id::guid()));
    for (name, text) in done.headers {
        reply.headers_mut().insert(name, value(&text));
    }
    reply
}

/// The response with an error.
pub(in crate::doors) fn problem_reply(problem: &Problem, clock: &Clock, form: Form) -> Reply {
    let (body, id) = problem.body(clock.now(), form);
    let mut reply = reply(clock, problem.status, CONTENT_TYPE, Paced::new(body, Pace::AtOnce));
    reply.headers_mut().insert(HubRefusal::HEADER, value(&problem.name));
    reply.headers_mut().insert(REQUEST_ID, value(&id));
    reply
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;

    async fn body(reply: Reply) -> Value {
        let bytes = reply.into_body().collect().await.expect("a body").to_bytes();
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[tokio::test]
    async fn errors_have_the_two_bodies_of_the_service() {
        let clock = Clock::new(Duration::ZERO);
        let problem = Problem::missing("d1");
        let reply = problem_reply(&problem, &clock, Form::Named);
        assert_eq!(reply.status(), 404);
        assert_eq!(reply.headers()["iothub-errorcode"], "DeviceNotFound");
        let json = body(reply).await;
        assert_eq!(json["Message"], "ErrorCode:DeviceNotFound;d1");
        let tracking = json["ExceptionMessage"].as_str().expect("text");
        assert!(tracking.starts_with("Tracking ID:") && tracking.contains("-G:0-TimeStamp:"), "{tracking}");

        let reply = problem_reply(&Problem::new(Code::DeviceNotOnline, "…"), &clock, Form::Nested);
        assert_eq!(reply.headers()["iothub-errorcode"], "DeviceNotOnline");
        let json = body(reply).await;
        assert_eq!(json["ExceptionMessage"], "");
        let inner: Value = serde_json::from_str(json["Message"].as_str().expect("text")).expect("JSON");
        assert_eq!((&inner["errorCode"], &inner["message"]), (&404_103.into(), &"…".into()));
        assert!(inner["trackingId"].is_string() && inner["timestampUtc"].is_string());
    }
}
