//! The admin port: plain HTTP for operators, on loopback by default.

mod api;
mod guard;
mod messages;
mod portal;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use guard::Guard;

use self::api::{Failure, Feed, Shape, Stream};
use crate::doors::accept::accept;
use crate::doors::admission::{Admission, ConnectionEntry, RequestSlot};
use crate::doors::http::{Aborted, Pace, Paced, Reply, Timed, flushed, reply, value};
use crate::services::cloud::Cloud;
use crate::services::ready::Ready;

/// Headers of every response. A browser must not show the response in a frame, cache it, or give it to a page of
/// another origin. The files of the portal have their own values for some of these headers.
const HEADERS_OF_ALL: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const PATHS: &str = "There is nothing at this path. The portal is at /. Use /health or /ca.pem. The service API of DPS \
                     is below /dps, that of a hub below /hubs/{hub}. The messages for a device are at \
                     /messages/{hub}/{device}, those for a module at /messages/{hub}/{device}/modules/{module}. The \
                     emulator's own API is /api/status, /api/events, /api/telemetry/{hub}, \
                     /api/telemetry/{hub}/export, /api/traffic, /api/simulated, /api/faults, /api/clock, /api/keys, \
                     /api/certificates, /api/export, /api/import, /api/reset and \
                     /api/devices/{hub}/{device}/disconnect.";

/// Maximum number of connections that the admin port serves at a time. The maximum number of pending connections is the
/// same.
const CONNECTIONS_MAX: usize = 256;

/// Number of pending connections to evict when no file descriptors are left.
const EVICTED_AT_ONCE: usize = 16;

/// Maximum number of streams. This number is lower than [`CONNECTIONS_MAX`], so streams cannot take all slots.
const STREAMS: usize = 128;

/// Maximum number of imports that the admin port receives at a time. The admin port refuses further imports, because
/// each import needs memory.
const UPLOADS: usize = 4;

/// How long a client may leave a response unread.
const TAKE: Duration = Duration::from_secs(30);

/// How long the connections may continue when the emulator shuts down.
const SHUTDOWN: Duration = Duration::from_secs(1);

const HEADERS: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 16 * 1024;

/// State that all listeners of the admin port share.
#[derive(Debug)]
pub(crate) struct Admin {
    cloud: Arc<Cloud>,
    guard: Guard,
    started: SystemTime,
    admission: Arc<Admission>,
    streams: Arc<Semaphore>,
    /// Limits how many imports the admin port receives at a time.
    uploads: Semaphore,
    /// Lets one import at a time change the state.
    imports: Semaphore,
}

impl Admin {
    pub(crate) fn new(cloud: Arc<Cloud>, guard: Guard) -> Self {
        Self {
            guard,
            started: cloud.clock.now(),
            cloud,
            admission: Admission::new(CONNECTIONS_MAX),
            streams: Arc::new(Semaphore::new(STREAMS)),
            uploads: Semaphore::new(UPLOADS),
            imports: Semaphore::new(1),
        }
    }

    /// Serves a listener until the emulator shuts down or the future is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let tcp = tokio::select! {
                tcp = accept(&listener, &mut connections, || self.admission.evict(EVICTED_AT_ONCE)) => tcp,
                () = self.cloud.closed() => break,
            };
            let connection = tokio::select! {
                connection = self.admission.admit() => connection,
                () = self.cloud.closed() => break,
            };
            let (this, entry) = (Arc::clone(&self), Arc::clone(&connection.entry));
            connections.spawn(async move {
                tokio::select! {
                    () = this.connection(Timed::new(tcp, TAKE), &entry) => {}
                    () = connection.evicted() => tracing::debug!("a pending admin connection is evicted"),
                }
            });
        }
        drop(listener);
        // Streams end by themselves when the emulator shuts down.
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(SHUTDOWN, ended).await;
    }

    async fn connection(&self, stream: Timed<tokio::net::TcpStream>, entry: &Arc<ConnectionEntry>) {
        let service = service_fn(|request| self.answer(request, entry));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADERS_MAX);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.cloud.closed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection failed");
        }
    }

    /// Answers one request, or refuses it if the [`Guard`] does not accept its headers.
    ///
    /// A request acquires a connection slot when it is complete, and holds the slot until its response is sent. The
    /// request of a stream holds its slot until the stream ends.
    async fn answer(&self, request: Request<Incoming>, entry: &Arc<ConnectionEntry>) -> Result<Reply, Aborted> {
        let page = portal::File::at(request.uri().path());
        let (mut head, body) = request.into_parts();
        let slot = RequestSlot::new(entry);
        if body.is_end_stream() {
            slot.acquire().await;
        }
        head.extensions.insert(slot.clone());
        let mut reply = match self.guard.check(&head, page.is_some()) {
            Ok(()) => {
                let reply = self.route(page, Request::from_parts(head, body)).await;
                flushed(&self.cloud, reply).await?
            }
            Err(blocked) => {
                tracing::info!(path = head.uri.path(), ?blocked, "the admin port refuses a request");
                text(&self.cloud, blocked.status(), blocked.message())
            }
        };
        reply.body_mut().keep(slot);
        let headers = reply.headers_mut();
        for (name, value) in HEADERS_OF_ALL {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        // Remove the header that tells a browser to use only HTTPS. The service APIs add this header to their
        // responses, but the admin port does not support HTTPS.
        headers.remove(STRICT_TRANSPORT_SECURITY);
        Ok(reply)
    }

    /// Dispatches a request by its path. Errors of the service APIs and of `/messages/` have the format of the service.
    /// Errors below `/api/` are JSON. All other errors are text.
    async fn route(&self, page: Option<portal::File>, request: Request<Incoming>) -> Result<Reply, Aborted> {
        let cloud = &self.cloud;
        if let Some(file) = page {
            return Ok(file.reply(cloud, request.method()));
        }
        let path = request.uri().path().to_owned();
        if let Some(path) = path.strip_prefix("/api/") {
            return api::answer(self, path, request).await;
        }
        if let Some(path) = path.strip_prefix("/dps").filter(|it| crate::doors::service_https::is_for_dps(it)) {
            return crate::doors::service_https::handle_open(cloud, path, request).await;
        }
        if let Some((hub, at)) = path.strip_prefix("/hubs/").and_then(|it| Some((it, it.find('/')?)))
            && let (hub, path) = hub.split_at(at)
            && crate::doors::service_https::is_for_hub(path)
        {
            return crate::doors::service_https::handle_hub(cloud, hub, path, request).await;
        }
        match messages::Target::parse(&path) {
            Some(target) => messages::answer(cloud, target, request).await,
            None => Ok(answer(cloud, &request)),
        }
    }

    /// Returns a response that streams a feed. Refuses the request if too many streams are open.
    fn stream(&self, feed: impl Feed, shape: Shape, restarted: bool, content_type: &str) -> Result<Reply, Failure> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Failure::busy())?;
        let stream = Stream::new(feed, shape, restarted, self.cloud.closing.subscribe(), permit);
        let mut reply = reply(&self.cloud.clock, 200, content_type, Paced::stream(stream));
        reply.headers_mut().insert(CONTENT_TYPE, value(content_type));
        Ok(reply)
    }
}

fn text(cloud: &Cloud, status: u16, text: &str) -> Reply {
    reply(&cloud.clock, status, "text/plain; charset=utf-8", Paced::new(format!("{text}\n"), Pace::AtOnce))
}

fn answer<B>(cloud: &Cloud, request: &Request<B>) -> Reply {
    let text = |status, message: &str| text(cloud, status, message);
    let (content_type, body) = match request.uri().path() {
        "/health" => {
            let health = json!({ "status": "ok", "emulator": Ready::new(&cloud.info) });
            ("application/json", health.to_string())
        }
        "/ca.pem" => ("application/x-pem-file", cloud.info.ca_pem.clone()),
        _ => return text(404, PATHS),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = text(405, "Only GET and HEAD are allowed here.");
        reply.headers_mut().insert(ALLOW, value("GET, HEAD"));
        return reply;
    }
    // hyper leaves the body out for HEAD.
    reply(&cloud.clock, 200, content_type, Paced::new(body, Pace::AtOnce))
}
