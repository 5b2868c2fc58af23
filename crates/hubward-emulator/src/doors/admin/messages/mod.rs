//! `GET` and `POST /messages/{hub}/{device}` at the admin port: the queue of a device or module.
//!
//! There are two differences from the service API. Properties are JSON members instead of headers, and a client can
//! also send messages to inputs of modules.

mod body;

use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use body::{INPUT_OF_DEVICE, read, wrong};

use crate::doors::admission;
use crate::doors::http::{Aborted, Pace, Paced, Reply, is_json, reply, request, value};
use crate::doors::service_https::problem_reply;
use crate::services;
use crate::services::api::hub::{Form, Problem};
use crate::services::cloud::Cloud;
use crate::services::hub::Code;

/// Maximum size of a body, in bytes. This is enough for the largest message, even if JSON escapes every character.
const BODY_MAX: usize = 512 * 1024;

/// The device or module that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    hub: String,
    /// `{device}` or `{device}/{module}`.
    client_id: String,
}

impl Target {
    /// Reads `/messages/{hub}/{device}` and `/messages/{hub}/{device}/modules/{module}`; `None` for other paths.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix("/messages/")?.split('/');
        let mut name = || {
            let name = percent_decode_str(segments.next()?).decode_utf8().ok()?.into_owned();
            // A device id with `/` would name a module.
            (!name.is_empty() && !name.contains('/')).then_some(name)
        };
        let (hub, device) = (name()?, name()?);
        let client_id = match (segments.next(), segments.next(), segments.next()) {
            (None, ..) => device,
            (Some("modules"), Some(module), None) => {
                let module = percent_decode_str(module).decode_utf8().ok()?;
                (!module.is_empty() && !module.contains('/')).then(|| format!("{device}/{module}"))?
            }
            _ => return None,
        };
        Some(Self { hub, client_id })
    }
}

/// Answers one request.
pub(super) async fn answer(cloud: &Cloud, target: Target, request: Request<Incoming>) -> Result<Reply, Aborted> {
    let result = match *request.method() {
        Method::GET | Method::HEAD => show(cloud, &target),
        Method::POST => match read_json(request).await? {
            Ok(body) => send(cloud, &target, body),
            Err(problem) => Err(problem),
        },
        _ => {
            let message = "This path does not have this method.";
            let mut reply = problem_reply(&Problem::generic(405, message), &cloud.clock, Form::Nested);
            reply.headers_mut().insert(ALLOW, value("GET, HEAD, POST"));
            return Ok(reply);
        }
    };
    Ok(match result {
        // hyper leaves the body out for HEAD.
        Ok(body) => {
            let body = Paced::new(body.to_string(), Pace::AtOnce);
            reply(&cloud.clock, 200, "application/json; charset=utf-8", body)
        }
        Err(problem) => problem_reply(&problem, &cloud.clock, Form::Nested),
    })
}

/// The queued messages, the oldest first.
fn show(cloud: &Cloud, target: &Target) -> Result<Value, Problem> {
    let messages = services::hub::queued(cloud, &target.hub, &target.client_id);
    let missing = || Problem::new(Code::not_found(&target.client_id), "The hub does not have this device or module.");
    Ok(json!({ "messages": messages.ok_or_else(missing)? }))
}

/// Sends a message. Returns `{messageId}`.
fn send(cloud: &Cloud, target: &Target, body: Value) -> Result<Value, Problem> {
    let (message, input) = read(body)?;
    let sent = match (target.client_id.split_once('/'), &input) {
        (None, None) => services::hub::send(cloud, &target.hub, &target.client_id, None, message),
        (Some((device, module)), Some(input)) => {
            services::hub::send(cloud, &target.hub, device, Some((module, input)), message)
        }
        (None, Some(_)) => return Err(wrong(INPUT_OF_DEVICE)),
        (Some(_), None) => return Err(wrong("A message to a module needs an inputName.")),
    };
    Ok(json!({ "messageId": sent? }))
}

/// Reads the JSON body of a request. Refuses a request whose content type is not JSON.
///
/// This check stops requests from web pages of other origins. A browser lets such a page send a POST request to this
/// port, but not with the content type of JSON.
async fn read_json(request: Request<Incoming>) -> Result<Result<Value, Problem>, Aborted> {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        let message = "The content type must be application/json.";
        return Ok(Err(Problem::generic(415, message)));
    }
    let Ok(bytes) = request::read(body, BODY_MAX).await? else {
        return Ok(Err(Problem::new(Code::MessageTooLarge, "The request is larger than 512 KB.")));
    };
    admission::acquire_slot(&head.extensions).await;
    let read = serde_json::from_slice(&bytes);
    Ok(read.map_err(|problem| {
        let message = format!("The body is not valid JSON at line {}, column {}.", problem.line(), problem.column());
        Problem::new(Code::IotHubFormatError, message)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_of_devices_and_modules() {
        let target = |hub: &str, id: &str| Some(Target { hub: hub.into(), client_id: id.into() });
        for (path, expected) in [
            ("/messages/localhost/d1", target("localhost", "d1")),
            ("/messages/localhost/d%23%201", target("localhost", "d# 1")),
            ("/messages/localhost/d1/modules/m", target("localhost", "d1/m")),
            ("/messages/h/d+1", target("h", "d+1")),
            ("/messages/h/modules/modules/m", target("h", "modules/m")),
            ("/messages/localhost/d1%2Fm", None),
            ("/messages/localhost/d1/modules/m%2Fn", None),
            ("/messages/localhost/d1/modules", None),
            ("/messages/localhost/d1/modules/", None),
            ("/messages/localhost/d1/modules/m/n", None),
            ("/messages/localhost/d1/", None),
            ("/messages/localhost/", None),
            ("/messages/localhost", None),
            ("/messages/localhost/%ff", None),
            ("/messages", None),
            ("/health", None),
        ] {
            assert_eq!(Target::parse(path), expected, "{path}");
        }
    }
}
