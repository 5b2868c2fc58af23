//! The paths below `/api/` at the admin port. They form the emulator's own API, in JSON.

mod certificates;
mod clock;
mod credential_policies;
mod devices;
mod events;
mod faults;
mod feed;
mod keys;
mod page;
mod query;
mod simulated;
mod state;
mod status;
mod telemetry;
mod traffic;

use bytes::Bytes;
pub(super) use feed::{Feed, Shape, Stream};
use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::certificates::Target;
use super::Admin;
use crate::doors::admission;
use crate::doors::http::request::{self, TooLarge};
use crate::doors::http::{Aborted, Pace, Paced, Reply, is_json, reply, value};
use crate::services::cloud::Cloud;

/// Maximum size of a body, in bytes. The body of a request can be a scripted fault, which can itself contain the body
/// of a response.
const BODY_MAX: usize = 1024 * 1024;

/// Maximum size of an import, in bytes: about ten thousand devices.
const SEED_MAX: usize = 64 * 1024 * 1024;

/// The resource that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Status,
    Events,
    Telemetry { hub: String },
    Export { hub: String },
    Clock,
    Faults,
    Fault { id: u64 },
    Disconnect { hub: String, client_id: String },
    Simulated,
    SimulatedDevice { id: String },
    Certificates(Target),
    CredentialPolicies,
    CredentialPolicy { name: String },
    Traffic,
    Keys,
    ExportState,
    ImportState,
    Reset,
}

impl Route {
    /// Parses the part of a path after `/api/`.
    fn parse(path: &str) -> Option<Self> {
        let decode = |it: &str| {
            let name = percent_decode_str(it).decode_utf8().ok()?.into_owned();
            // A device id with `/` would name a module.
            (!name.is_empty() && !name.contains('/')).then_some(name)
        };
        let segments: Vec<&str> = path.split('/').collect();
        Some(match segments[..] {
            ["status"] => Self::Status,
            ["events"] => Self::Events,
            ["telemetry", hub] => Self::Telemetry { hub: decode(hub)? },
            ["telemetry", hub, "export"] => Self::Export { hub: decode(hub)? },
            ["certificates"] => Self::Certificates(Target::All),
            ["certificates", name] => Self::Certificates(Target::One { name: decode(name)? }),
            ["certificates", name, "generateVerificationCode"] => {
                Self::Certificates(Target::GenerateCode { name: decode(name)? })
            }
            ["certificates", name, "verify"] => Self::Certificates(Target::Verify { name: decode(name)? }),
            ["clock"] => Self::Clock,
            ["credential-policies"] => Self::CredentialPolicies,
            ["credential-policies", name] => Self::CredentialPolicy { name: decode(name)? },
            ["keys"] => Self::Keys,
            ["simulated"] => Self::Simulated,
            ["simulated", id] => Self::SimulatedDevice { id: decode(id)? },
            ["traffic"] => Self::Traffic,
            ["faults"] => Self::Faults,
            ["faults", id] => Self::Fault { id: id.parse().ok()? },
            ["export"] => Self::ExportState,
            ["import"] => Self::ImportState,
            ["reset"] => Self::Reset,
            ["devices", hub, device, "disconnect"] => {
                Self::Disconnect { hub: decode(hub)?, client_id: decode(device)? }
            }
            ["devices", hub, device, "modules", module, "disconnect"] => {
                let client_id = format!("{}/{}", decode(device)?, decode(module)?);
                Self::Disconnect { hub: decode(hub)?, client_id }
            }
            _ => return None,
        })
    }

    const fn allowed(&self) -> &'static str {
        match self {
            Self::Status
            | Self::Events
            | Self::Telemetry { .. }
            | Self::Export { .. }
            | Self::Keys
            | Self::CredentialPolicies
            | Self::Traffic
            | Self::ExportState => "GET, HEAD",
            Self::Certificates(target) => target.allowed(),
            Self::CredentialPolicy { .. } => "GET, HEAD, PUT",
            Self::Clock | Self::Simulated => "GET, HEAD, POST",
            Self::Faults => "GET, HEAD, POST, DELETE",
            Self::Fault { .. } | Self::SimulatedDevice { .. } => "DELETE",
            Self::Disconnect { .. } | Self::ImportState | Self::Reset => "POST",
        }
    }
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: u16,
    message: String,
}

impl Failure {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn wrong(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// Too many streams are open.
    pub(super) fn busy() -> Self {
        Self::new(503, "Too many streams are open; close one.")
    }

    fn no_hub(hub: &str) -> Self {
        Self::new(404, format!("The emulator has no hub `{hub}`."))
    }
}

/// Answers a request; `path` is the part after `/api/`.
pub(super) async fn answer(admin: &Admin, path: &str, request: Request<Incoming>) -> Result<Reply, Aborted> {
    let cloud = &admin.cloud;
    let Some(route) = Route::parse(path) else {
        return Ok(failed(cloud, &Failure::new(404, super::PATHS)));
    };
    let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    if !route.allowed().split(", ").any(|it| it == method.as_str()) {
        let mut reply = failed(cloud, &Failure::new(405, "This path does not have this method."));
        reply.headers_mut().insert(ALLOW, value(route.allowed()));
        return Ok(reply);
    }
    let (head, body) = request.into_parts();
    let query = head.uri.query();
    let done = match route {
        Route::Status => Ok(json_reply(cloud, 200, &status::show(admin))),
        Route::Events => events::answer(admin, query, &head.headers),
        Route::Telemetry { hub } => telemetry::answer(admin, &hub, query, &head.headers),
        Route::Export { hub } => telemetry::export(admin, &hub, query),
        Route::Keys => Ok(json_reply(cloud, 200, &keys::show(cloud))),
        Route::ExportState => Ok(json_reply(cloud, 200, &state::export(cloud))),
        Route::ImportState => import(admin, &head, body).await?.map(|it| json_reply(cloud, 200, &it)),
        Route::Reset => state::reset(cloud).map(|it| json_reply(cloud, 200, &it)),
        Route::Clock if method == Method::GET => Ok(json_reply(cloud, 200, &clock::show(cloud))),
        Route::Clock => match read(&head, body).await? {
            Ok(body) => clock::set(cloud, body).map(|it| json_reply(cloud, 200, &it)),
            Err(failure) => Err(failure),
        },
        Route::Faults if method == Method::GET => Ok(json_reply(cloud, 200, &faults::show(cloud))),
        Route::Faults if method == Method::DELETE => Ok(json_reply(cloud, 200, &faults::clear(cloud))),
        Route::Faults => match read(&head, body).await? {
            Ok(body) => faults::script(cloud, body).map(|it| json_reply(cloud, 201, &it)),
            Err(failure) => Err(failure),
        },
        Route::Fault { id } => faults::remove(cloud, id).map(|it| json_reply(cloud, 200, &it)),
        Route::Certificates(target) => {
            let has_body = target.has_body(&method);
            let body = if has_body { read_bytes(&head, body, BODY_MAX).await? } else { Ok(Bytes::new()) };
            Ok(certificates::answer(cloud, &target, &method, &head, body))
        }
        Route::CredentialPolicies => Ok(json_reply(cloud, 200, &credential_policies::list(cloud))),
        Route::CredentialPolicy { name } if method == Method::GET => {
            credential_policies::show(cloud, &name).map(|it| json_reply(cloud, 200, &it))
        }
        Route::CredentialPolicy { name } => match read(&head, body).await? {
            Ok(body) => credential_policies::put(cloud, &name, &body).map(|it| json_reply(cloud, 200, &it)),
            Err(failure) => Err(failure),
        },
        Route::Traffic => Ok(json_reply(cloud, 200, &traffic::show(cloud))),
        Route::Simulated if method == Method::GET => Ok(json_reply(cloud, 200, &simulated::show(cloud))),
        Route::Simulated => match read(&head, body).await? {
            Ok(body) => simulated::start(cloud, &body).map(|it| json_reply(cloud, 201, &it)),
            Err(failure) => Err(failure),
        },
        Route::SimulatedDevice { id } => simulated::stop(cloud, &id).await.map(|it| json_reply(cloud, 200, &it)),
        Route::Disconnect { hub, client_id } => {
            devices::disconnect(cloud, &hub, &client_id).map(|it| json_reply(cloud, 200, &it))
        }
    };
    Ok(done.unwrap_or_else(|failure| failed(cloud, &failure)))
}

/// Imports an export into the state.
async fn import(admin: &Admin, head: &http::request::Parts, body: Incoming) -> Result<Result<Value, Failure>, Aborted> {
    let Ok(_upload) = admin.uploads.try_acquire() else {
        // Reads and discards the body. Otherwise a client that is still sending might not read the response.
        let _ = request::discard(body, SEED_MAX).await?;
        return Ok(Err(Failure::new(503, "Too many imports are in progress. Try again later.")));
    };
    let bytes = match read_bytes(head, body, SEED_MAX).await? {
        Ok(bytes) => bytes,
        Err(failure) => return Ok(Err(failure)),
    };
    let _turn = admin.imports.acquire().await;
    Ok(state::import(&admin.cloud, &bytes))
}

/// Reads the JSON of a request.
async fn read<T: DeserializeOwned>(head: &http::request::Parts, body: Incoming) -> Result<Result<T, Failure>, Aborted> {
    let bytes = read_bytes(head, body, BODY_MAX).await?;
    Ok(bytes.and_then(|bytes| {
        serde_json::from_slice(&bytes).map_err(|problem| Failure::wrong(format!("The body is not valid: {problem}.")))
    }))
}

/// Reads the body of a request. Refuses the request if its content type is not JSON.
async fn read_bytes(
    head: &http::request::Parts,
    body: Incoming,
    max: usize,
) -> Result<Result<Bytes, Failure>, Aborted> {
    if !is_json(&head.headers) {
        return Ok(Err(Failure::new(415, "The content type must be application/json.")));
    }
    let read = request::read(body, max).await?;
    admission::acquire_slot(&head.extensions).await;
    Ok(read.map_err(|TooLarge| Failure::new(413, format!("The request is larger than {} MiB.", max >> 20))))
}

fn failed(cloud: &Cloud, failure: &Failure) -> Reply {
    json_reply(cloud, failure.status, &json!({ "status": failure.status, "message": failure.message }))
}

fn json_reply(cloud: &Cloud, status: u16, body: &Value) -> Reply {
    // hyper leaves the body out for HEAD.
    reply(&cloud.clock, status, "application/json", Paced::new(body.to_string(), Pace::AtOnce))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_paths() {
        let telemetry = |hub: &str| Some(Route::Telemetry { hub: hub.into() });
        let disconnect = |id: &str| Some(Route::Disconnect { hub: "h".into(), client_id: id.into() });
        for (path, expected) in [
            ("status", Some(Route::Status)),
            ("export", Some(Route::ExportState)),
            ("import", Some(Route::ImportState)),
            ("reset", Some(Route::Reset)),
            ("events", Some(Route::Events)),
            ("telemetry/localhost", telemetry("localhost")),
            ("telemetry/a%20b", telemetry("a b")),
            ("telemetry/localhost/export", Some(Route::Export { hub: "localhost".into() })),
            ("devices/h/d%231/disconnect", disconnect("d#1")),
            ("devices/h/d1/modules/m/disconnect", disconnect("d1/m")),
            ("devices/h/d1%2Fm/disconnect", None),
            ("devices/h/d1", None),
            ("devices/h//disconnect", None),
            ("simulated", Some(Route::Simulated)),
            ("simulated/sim%2D1", Some(Route::SimulatedDevice { id: "sim-1".into() })),
            ("simulated/", None),
            ("credential-policies", Some(Route::CredentialPolicies)),
            ("credential-policies/week", Some(Route::CredentialPolicy { name: "week".into() })),
            ("credential-policies/week/x", None),
            ("traffic", Some(Route::Traffic)),
            ("traffic/x", None),
            ("certificates", Some(Route::Certificates(Target::All))),
            ("certificates/root-1", Some(Route::Certificates(Target::One { name: "root-1".into() }))),
            ("certificates/root-1/verify", Some(Route::Certificates(Target::Verify { name: "root-1".into() }))),
            ("certificates/root-1/other", None),
            ("certificates/", None),
            ("faults", Some(Route::Faults)),
            ("faults/7", Some(Route::Fault { id: 7 })),
            ("faults/x", None),
            ("telemetry/", None),
            ("telemetry", None),
            ("status/", None),
            ("", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }
}
