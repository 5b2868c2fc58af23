//! The admin port: plain HTTP, on loopback always.

mod messages;
mod methods;
mod portal;
mod service;
mod twins;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Cut, Pace, Paced, Reply, reply, telemetry, value};
use crate::ready::Ready;
use crate::serve::accept;
use crate::shared::Shared;

/// Serves a listener until it is dropped; its connections end with it.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let permits = Arc::new(Semaphore::new(MOST));
    let mut connections = JoinSet::new();
    loop {
        let tcp = accept(&listener, &mut connections).await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| route(&shared, request));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADERS_MOST);
            if let Err(error) = builder.serve_connection(TokioIo::new(tcp), service).await {
                tracing::debug!(%error, "an admin connection ended badly");
            }
            drop(permit);
        });
    }
}

/// Who asks for a device is answered in the service's shape, everybody else in text.
async fn route(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Cut> {
    if !is_local(&request) {
        return Ok(text(shared, 403, "This address answers to localhost only."));
    }
    if let Some(path) = request.uri().path().strip_prefix("/dps").map(str::to_owned)
        && crate::service::is_asked(&path)
    {
        return crate::service::handle_open(shared, &path, request).await;
    }
    if let Some(file) = portal::File::at(request.uri().path()) {
        return Ok(file.reply(shared, request.method()));
    }
    match service::Asked::parse(request.uri().path()) {
        Some(asked) => service::answer(shared, asked, request).await,
        None => Ok(answer(shared, &request)),
    }
}

fn text(shared: &Shared, status: u16, text: &str) -> Reply {
    reply(&shared.clock, status, "text/plain; charset=utf-8", Paced::new(format!("{text}\n"), Pace::AtOnce))
}

fn answer<B>(shared: &Shared, request: &Request<B>) -> Reply {
    let text = |status, message: &str| text(shared, status, message);
    let (content_type, body) = match request.uri().path() {
        "/health" => {
            let health = json!({ "status": "ok", "emulator": Ready::new(&shared.info) });
            ("application/json", health.to_string())
        }
        "/ca.pem" => ("application/x-pem-file", shared.info.ca_pem.clone()),
        path => {
            let log = path.strip_prefix("/telemetry/").and_then(|hub| shared.logs.get(&hub.to_ascii_lowercase()));
            let Some(log) = log else { return text(404, PATHS) };
            match telemetry::page(log, request.uri().query()) {
                Some(page) => ("application/json", page.to_string()),
                None => return text(400, "The query is from={offset}, or there is none."),
            }
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = text(405, "This is only to be read.");
        reply.headers_mut().insert(ALLOW, value("GET, HEAD"));
        return reply;
    }
    // hyper leaves the body out for HEAD.
    reply(&shared.clock, 200, content_type, Paced::new(body, Pace::AtOnce))
}

/// Whether the request was meant for this machine. A page of a stranger may let its own name point
/// here (DNS rebinding), but cannot make a browser send another `Host`.
fn is_local<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|it| it.to_str().ok()), hosts.next()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

const PATHS: &str = "There is /health, /ca.pem, /telemetry/{hub}, and for a device /twins/{hub}/{device}, \
                     /methods/{hub}/{device} and /messages/{hub}/{device}; a module is {device}/modules/{module}. \
                     The service API of DPS is below /dps.";

const MOST: usize = 64;
const HEADERS: Duration = Duration::from_secs(30);
const HEADERS_MOST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_local_names_only() {
        for (hosts, local) in [
            (&["localhost"][..], true),
            (&["LOCALHOST:8080"], true),
            (&["127.0.0.1:1"], true),
            (&["[::1]"], true),
            (&["[::1]:8080"], true),
            (&["evil.example"], false),
            (&["localhost.evil.example"], false),
            (&["192.168.1.1"], false),
            (&["[::2]"], false),
            (&[""], false),
            (&[], false),
            (&["localhost", "evil.example"], false),
        ] {
            let mut request = Request::builder();
            for host in hosts {
                request = request.header(HOST, *host);
            }
            assert_eq!(is_local(&request.body(()).expect("a request")), local, "{hosts:?}");
        }
    }
}
