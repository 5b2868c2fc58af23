//! The admin port of a running emulator, as its commands talk to it: plain HTTP on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hubward::Fault;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::commands::emulator::{Running, data_dir};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Where the admin port is unless chosen.
pub(crate) const ADMIN_PORT: u16 = 8480;

/// Which emulator is meant.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The admin port of a running emulator, such as http://127.0.0.1:8480 [env:
    /// HUBWARD_EMULATOR_ADMIN] [default: that of the emulator that runs with the data directory, or
    /// port 8480]
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// The data directory that the emulator was started with [env: HUBWARD_DATA_DIR] [default: a folder
    /// of this user's]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl AdminArgs {
    /// The emulator that was named, or else the one that runs here.
    pub(crate) fn admin(&self) -> Result<Admin, Failure> {
        if let Some(named) = self.named()? {
            return Ok(named);
        }
        let running = data_dir(self.data_dir.as_deref()).ok().and_then(|it| Running::with(&it));
        Ok(match running {
            Some(running) => Admin::at(&running.admin).map_err(|problem| Failure::local(problem.to_owned()))?,
            None => Admin { authority: format!("127.0.0.1:{ADMIN_PORT}") },
        })
    }

    /// The one that an argument or the variable names.
    pub(crate) fn named(&self) -> Result<Option<Admin>, Failure> {
        let (by, url) = match (&self.admin, crate::variable(VARIABLE)) {
            (Some(url), _) => ("--admin", url.clone()),
            // A directory on the command line says more than what stands in the environment.
            (None, Some(url)) if self.data_dir.is_none() => (VARIABLE, url),
            _ => return Ok(None),
        };
        Admin::at(&url).map(Some).map_err(|problem| {
            Failure::usage(format!("{by}: `{url}` {problem}"))
                .hint("write it as the `ready` line does: http://127.0.0.1:8480")
        })
    }
}

const VARIABLE: &str = "HUBWARD_EMULATOR_ADMIN";

/// An admin port. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    authority: String,
}

/// What was answered in full.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Admin {
    /// The one with this URL; there is nothing below it.
    pub(crate) fn at(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.trim().parse().map_err(|_| "is no URL")?;
        let authority = uri.authority().ok_or("has no host")?;
        if uri.scheme_str() != Some("http") {
            return Err("does not begin with http://, which the admin port speaks");
        }
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("is more than http://HOST:PORT");
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()) })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Reads something.
    ///
    /// # Errors
    /// Nobody answers, or the answer is a refusal.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        self.accepted(self.ask(Method::GET, path, None).await?)
    }

    /// Changes something, with JSON if there is more to say than the path says.
    ///
    /// # Errors
    /// As for [`Admin::get`].
    pub(crate) async fn change(&self, method: Method, path: &str, json: Option<Bytes>) -> Result<Bytes, Failure> {
        self.accepted(self.ask(method, path, json).await?)
    }

    /// Asks, whatever the answer is.
    ///
    /// # Errors
    /// Nobody answers, in time or at all.
    pub(crate) async fn ask(&self, method: Method, path: &str, json: Option<Bytes>) -> Result<Answered, Failure> {
        let whole = async {
            let response = self.begin(method, path, json).await?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| self.broken(&error))?;
            Ok(Answered { status, body: body.to_bytes() })
        };
        timeout(PATIENCE, whole).await.unwrap_or_else(|_| Err(self.silent()))
    }

    /// Asks for what has no end: server-sent events.
    ///
    /// # Errors
    /// As for [`Admin::get`].
    pub(crate) async fn stream(&self, path: &str) -> Result<Stream, Failure> {
        let response = timeout(PATIENCE, self.begin(Method::GET, path, None)).await;
        let response = response.unwrap_or_else(|_| Err(self.silent()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(Stream { admin: self.clone(), body: response.into_body() });
        }
        let body = timeout(PATIENCE, response.into_body().collect()).await.map_err(|_| self.silent())?;
        let body = body.map_err(|error| self.broken(&error))?.to_bytes();
        Err(self.refused(&Answered { status, body }))
    }

    async fn begin(&self, method: Method, path: &str, json: Option<Bytes>) -> Result<Response<Incoming>, Failure> {
        let tcp = TcpStream::connect(&self.authority).await.map_err(|error| self.absent(&error))?;
        let connected = http1::handshake(TokioIo::new(tcp)).await;
        let (mut sender, connection) = connected.map_err(|error| self.broken(&error))?;
        // It ends with the response, or when nobody waits for it any more.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the admin port ended badly");
            }
        });
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        request = request.header(ACCEPT, "application/json, text/event-stream");
        if json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(json.unwrap_or_default()))
            .map_err(|error| Failure::usage(format!("{path} cannot be asked for: {error}")))?;
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    fn accepted(&self, answered: Answered) -> Result<Bytes, Failure> {
        if answered.status.is_success() { Ok(answered.body) } else { Err(self.refused(&answered)) }
    }

    /// The failure that a refusal is.
    pub(crate) fn refused(&self, answered: &Answered) -> Failure {
        let (code, message) = problem(&answered.body);
        let message = format!("the emulator refused with {}: {message}", answered.status.as_u16());
        let exit_code = if answered.status == StatusCode::BAD_REQUEST { ExitCode::Usage } else { ExitCode::Refused };
        let fault = if exit_code == ExitCode::Usage { Fault::Request } else { Fault::Service };
        let mut failure = self.failure(exit_code, "admin-request", fault, message);
        failure.service_code = code;
        failure
    }

    fn absent(&self, error: &std::io::Error) -> Failure {
        let message = format!("no emulator answers at {}: {error}", self.url());
        self.failure(ExitCode::Network, "admin-connect", Fault::Network, message).hint(format!(
            "start one: hubward emulator; or name the admin port of a running one: --admin URL, {VARIABLE}"
        ))
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        let message = format!("{} broke the connection: {error}", self.url());
        self.failure(ExitCode::Network, "admin-request", Fault::Network, message)
            .hint("is it the admin port of an emulator? hubward emulator prints its own at the start")
    }

    fn silent(&self) -> Failure {
        let message = format!("{} did not answer within {} s", self.url(), PATIENCE.as_secs());
        self.failure(ExitCode::Deadline, "admin-request", Fault::Deadline, message)
    }

    fn failure(&self, exit_code: ExitCode, stage: &str, fault: Fault, message: String) -> Failure {
        let mut failure = Failure::new(exit_code, stage, fault.to_string(), message);
        failure.endpoint = Some(self.authority.clone());
        failure
    }

    /// Whether it is on this machine, so that the files it names are ours too. It may be in a
    /// container all the same.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host == "localhost" || self.authority.parse::<SocketAddr>().is_ok_and(|it| it.ip().is_loopback())
    }
}

/// A body that goes on.
#[derive(Debug)]
pub(crate) struct Stream {
    admin: Admin,
    body: Incoming,
}

impl Stream {
    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(|error| self.admin.broken(&error))?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Code and words of a refusal: JSON in the shape of one of the service APIs, or text.
fn problem(body: &[u8]) -> (Option<u32>, String) {
    let text = String::from_utf8_lossy(body).trim().to_owned();
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return (None, text) };
    // The hub's: JSON inside of a string.
    let inner = value["Message"].as_str().and_then(|it| serde_json::from_str::<Value>(it).ok());
    let value = inner.unwrap_or(value);
    let code = value["errorCode"].as_u64().and_then(|it| u32::try_from(it).ok());
    let message = ["message", "Message", "error"].iter().find_map(|it| value[*it].as_str());
    (code, message.map_or(text, str::to_owned))
}

/// For an answer as a whole: an export of everything takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_port_is_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8480", Ok("127.0.0.1:8480")),
            (" http://localhost:1/ ", Ok("localhost:1")),
            ("http://[::1]:8480", Ok("[::1]:8480")),
            ("http://emulator", Ok("emulator:80")),
            ("https://127.0.0.1:8480", Err("http://")),
            ("http://127.0.0.1:8480/api", Err("more than")),
            ("http://a@b:1", Err("more than")),
            ("8480", Err("")),
            ("", Err("")),
        ] {
            match (Admin::at(url), expected) {
                (Ok(admin), Ok(authority)) => assert_eq!(admin.authority, authority, "{url}"),
                (Err(problem), Err(says)) => assert!(problem.contains(says), "{url}: {problem}"),
                (found, _) => panic!("{url}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_refusal_is_read_in_all_its_shapes() {
        for (body, code, message) in [
            (r#"{"errorCode":412000,"message":"other etag"}"#, Some(412_000), "other etag"),
            (
                r#"{"Message":"{\"errorCode\":404001,\"message\":\"no d1\"}","ExceptionMessage":""}"#,
                Some(404_001),
                "no d1",
            ),
            (r#"{"Message":"ErrorCode:DeviceNotFound;d1"}"#, None, "ErrorCode:DeviceNotFound;d1"),
            ("This is only to be read.\n", None, "This is only to be read."),
            (r#"{"odd":1}"#, None, r#"{"odd":1}"#),
        ] {
            assert_eq!(problem(body.as_bytes()), (code, message.to_owned()), "{body}");
        }
    }
}
