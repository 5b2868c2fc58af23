//! Requests about one device at the admin port, in the shape of the hub's service API.

use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{messages, methods, twins};
use crate::http::{Cut, Pace, Paced, Reply, is_json, reply, request, value};
use crate::hub::Code;
use crate::lobby;
use crate::service::{Form, Problem};
use crate::shared::Shared;

/// A path about a device or module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    what: What,
    pub(super) hub: String,
    /// `{device}` or `{device}/{module}`.
    pub(super) client_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Twin,
    Method,
    Messages,
}

impl Asked {
    /// Reads `/twins/{hub}/{device}`, `/twins/{hub}/{device}/modules/{module}` and the like; `None`
    /// for other paths.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let what = match segments.next()? {
            "twins" => What::Twin,
            "methods" => What::Method,
            "messages" => What::Messages,
            _ => return None,
        };
        let mut name = || {
            let name = percent_decode_str(segments.next()?).decode_utf8().ok()?.into_owned();
            // A `/` would make a module of a device.
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
        Some(Self { what, hub, client_id })
    }

    const fn allowed(&self) -> &'static str {
        match self.what {
            What::Twin => "GET, HEAD, PATCH",
            What::Method => "POST",
            What::Messages => "GET, HEAD, POST",
        }
    }
}

/// Answers one request.
pub(super) async fn answer(shared: &Shared, asked: Asked, request: Request<Incoming>) -> Result<Reply, Cut> {
    let method = request.method().clone();
    let read = matches!(method, Method::GET | Method::HEAD);
    let known = match asked.what {
        What::Twin => read || method == Method::PATCH,
        What::Method => method == Method::POST,
        What::Messages => read || method == Method::POST,
    };
    if !known {
        let message = "This path does not have this method.";
        let mut reply = Problem::generic(405, message).reply(&shared.clock, Form::Nested);
        reply.headers_mut().insert(ALLOW, value(asked.allowed()));
        return Ok(reply);
    }
    let text = |value: Value| value.to_string().into_bytes();
    let result = match asked.what {
        What::Twin if read => twins::show(shared, &asked).map(text),
        What::Twin => match body(request).await? {
            Ok(body) => twins::patch(shared, &asked, &body).map(text),
            Err(problem) => Err(problem),
        },
        What::Messages if read => messages::show(shared, &asked).map(text),
        What::Messages => match body(request).await? {
            Ok(body) => messages::send(shared, &asked, body).map(text),
            Err(problem) => Err(problem),
        },
        What::Method => match body(request).await? {
            Ok(body) => methods::invoke(shared, &asked, body).await,
            Err(problem) => Err(problem),
        },
    };
    Ok(match result {
        // hyper leaves the body out for HEAD.
        Ok(body) => json_reply(shared, 200, body),
        Err(problem) => problem.reply(&shared.clock, Form::Nested),
    })
}

/// The JSON of a request. A page of a stranger can let a browser post here, but not as JSON.
async fn body(asked: Request<Incoming>) -> Result<Result<Value, Problem>, Cut> {
    let (head, body) = asked.into_parts();
    if !is_json(&head.headers) {
        let message = "The content type must be application/json.";
        return Ok(Err(Problem::generic(415, message)));
    }
    let Ok(bytes) = request::read(body, BODY_MOST).await? else {
        return Ok(Err(Problem::new(Code::MessageTooLarge, "The request is larger than 512 KB.")));
    };
    lobby::sit(&head.extensions).await;
    let read = serde_json::from_slice(&bytes);
    Ok(read.map_err(|problem| {
        let message = format!("The body is no JSON, at line {}, column {}.", problem.line(), problem.column());
        Problem::new(Code::IotHubFormatError, message)
    }))
}

fn json_reply(shared: &Shared, status: u16, body: Vec<u8>) -> Reply {
    reply(&shared.clock, status, "application/json; charset=utf-8", Paced::new(body, Pace::AtOnce))
}

/// Most bytes of a body: the payload of a method, or a twin, however it is escaped.
const BODY_MOST: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_of_devices_and_modules() {
        let asked = |what, hub: &str, id: &str| Some(Asked { what, hub: hub.into(), client_id: id.into() });
        for (path, expected) in [
            ("/twins/localhost/d1", asked(What::Twin, "localhost", "d1")),
            ("/twins/localhost/d%23%201", asked(What::Twin, "localhost", "d# 1")),
            ("/twins/localhost/d1/modules/m", asked(What::Twin, "localhost", "d1/m")),
            ("/methods/h/d+1", asked(What::Method, "h", "d+1")),
            ("/methods/h/modules/modules/m", asked(What::Method, "h", "modules/m")),
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
            assert_eq!(Asked::parse(path), expected, "{path}");
        }
    }
}
