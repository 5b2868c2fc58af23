//! Requests about one device at the admin port, in the format of the hub's service API.

use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{messages, methods, twins};
use crate::doors::admission;
use crate::doors::http::{Cut, Pace, Paced, Reply, is_json, reply, request, value};
use crate::doors::service_https::problem_reply;
use crate::services::api::hub::{Form, Problem};
use crate::services::cloud::Cloud;
use crate::services::hub::Code;

/// The device or module that a path names, and its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    resource: Resource,
    pub(super) hub: String,
    /// `{device}` or `{device}/{module}`.
    pub(super) client_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Twin,
    Method,
    Messages,
}

impl Target {
    /// Reads `/twins/{hub}/{device}`, `/twins/{hub}/{device}/modules/{module}` and the like; `None`
    /// for other paths.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let resource = match segments.next()? {
            "twins" => Resource::Twin,
            "methods" => Resource::Method,
            "messages" => Resource::Messages,
            _ => return None,
        };
        let mut name = || {
            let name = percent_decode_str(segments.next()?).decode_utf8().ok()?.into_owned();
            // With a `/`, the device id would name a module.
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
        Some(Self { resource, hub, client_id })
    }

    const fn allowed(&self) -> &'static str {
        match self.resource {
            Resource::Twin => "GET, HEAD, PATCH",
            Resource::Method => "POST",
            Resource::Messages => "GET, HEAD, POST",
        }
    }
}

/// Answers one request.
pub(super) async fn answer(cloud: &Cloud, target: Target, request: Request<Incoming>) -> Result<Reply, Cut> {
    let method = request.method().clone();
    let read = matches!(method, Method::GET | Method::HEAD);
    let known = match target.resource {
        Resource::Twin => read || method == Method::PATCH,
        Resource::Method => method == Method::POST,
        Resource::Messages => read || method == Method::POST,
    };
    if !known {
        let message = "This path does not have this method.";
        let mut reply = problem_reply(&Problem::generic(405, message), &cloud.clock, Form::Nested);
        reply.headers_mut().insert(ALLOW, value(target.allowed()));
        return Ok(reply);
    }
    let text = |value: Value| value.to_string().into_bytes();
    let result = match target.resource {
        Resource::Twin if read => twins::show(cloud, &target).map(text),
        Resource::Twin => match body(request).await? {
            Ok(body) => twins::patch(cloud, &target, &body).map(text),
            Err(problem) => Err(problem),
        },
        Resource::Messages if read => messages::show(cloud, &target).map(text),
        Resource::Messages => match body(request).await? {
            Ok(body) => messages::send(cloud, &target, body).map(text),
            Err(problem) => Err(problem),
        },
        Resource::Method => match body(request).await? {
            Ok(body) => methods::invoke(cloud, &target, body).await,
            Err(problem) => Err(problem),
        },
    };
    Ok(match result {
        // hyper leaves the body out for HEAD.
        Ok(body) => json_reply(cloud, 200, body),
        Err(problem) => problem_reply(&problem, &cloud.clock, Form::Nested),
    })
}

/// Reads the JSON body of a request. A web page of another origin can make a browser send a POST request here, but
/// not with the content type of JSON.
async fn body(request: Request<Incoming>) -> Result<Result<Value, Problem>, Cut> {
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

fn json_reply(cloud: &Cloud, status: u16, body: Vec<u8>) -> Reply {
    reply(&cloud.clock, status, "application/json; charset=utf-8", Paced::new(body, Pace::AtOnce))
}

/// Maximum size of a body, in bytes. It holds the payload of a method, or a twin, with all characters escaped.
const BODY_MAX: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_of_devices_and_modules() {
        let target = |resource, hub: &str, id: &str| Some(Target { resource, hub: hub.into(), client_id: id.into() });
        for (path, expected) in [
            ("/twins/localhost/d1", target(Resource::Twin, "localhost", "d1")),
            ("/twins/localhost/d%23%201", target(Resource::Twin, "localhost", "d# 1")),
            ("/twins/localhost/d1/modules/m", target(Resource::Twin, "localhost", "d1/m")),
            ("/methods/h/d+1", target(Resource::Method, "h", "d+1")),
            ("/methods/h/modules/modules/m", target(Resource::Method, "h", "modules/m")),
            ("/twins/localhost/d1%2Fm", None),
            ("/twins/localhost/d1/modules/m%2Fn", None),
            ("/twins/localhost/d1/modules", None),
            ("/twins/localhost/d1/modules/", None),
            ("/twins/localhost/d1/modules/m/n", None),
            ("/twins/localhost/d1/", None),
            ("/twins/localhost/", None),
            ("/twins/localhost", None),
            ("/twins/localhost/%ff", None),
            ("/health", None),
        ] {
            assert_eq!(Target::parse(path), expected, "{path}");
        }
    }
}
