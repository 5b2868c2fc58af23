//! The admin port: plain HTTP for operators, on loopback unless it is told otherwise.

mod api;
mod guard;
mod messages;
mod methods;
mod portal;
mod service;
mod twins;

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
use super::timed::Timed;
use super::{Cut, Pace, Paced, Reply, reply, settled, telemetry, value};
use crate::lobby::{Lobby, Place, Way};
use crate::ready::Ready;
use crate::serve::accept;
use crate::shared::Shared;

/// What all listeners of the admin port share.
#[derive(Debug)]
pub(crate) struct Admin {
    shared: Arc<Shared>,
    guard: Guard,
    started: SystemTime,
    lobby: Arc<Lobby>,
    streams: Arc<Semaphore>,
    /// So many imports may be on their way; slow ones keep nobody else waiting.
    uploads: Semaphore,
    /// One is read and put into the state at a time.
    imports: Semaphore,
}

impl Admin {
    pub(crate) fn new(shared: Arc<Shared>, guard: Guard) -> Self {
        Self {
            guard,
            started: shared.clock.now(),
            shared,
            lobby: Lobby::new(MOST),
            streams: Arc::new(Semaphore::new(STREAMS)),
            uploads: Semaphore::new(UPLOADS),
            imports: Semaphore::new(1),
        }
    }

    /// Serves a listener until everything is to end, or this is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let tcp = tokio::select! {
                tcp = accept(&listener, &mut connections, || self.lobby.evict(MANY)) => tcp,
                () = self.shared.closed() => break,
            };
            let guest = tokio::select! {
                guest = self.lobby.enter() => guest,
                () = self.shared.closed() => break,
            };
            let (this, place) = (Arc::clone(&self), Arc::clone(&guest.place));
            connections.spawn(async move {
                tokio::select! {
                    () = this.connection(Timed::new(tcp, TAKE), &place) => {}
                    () = guest.evicted() => tracing::debug!("an admin connection that asks for nothing makes room"),
                }
            });
        }
        drop(listener);
        // Streams end by themselves now.
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(FAREWELL, ended).await;
    }

    async fn connection(&self, stream: Timed<tokio::net::TcpStream>, place: &Arc<Place>) {
        let service = service_fn(|request| self.answer(request, place));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADERS_MOST);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.shared.closed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended badly");
        }
    }

    /// Answers one request; whoever asks first passes the [`Guard`]. It has a seat from when it is complete
    /// until its answer is sent, which of a stream may take long.
    async fn answer(&self, request: Request<Incoming>, place: &Arc<Place>) -> Result<Reply, Cut> {
        let page = portal::File::at(request.uri().path());
        let (mut head, body) = request.into_parts();
        let way = Way::new(place);
        if body.is_end_stream() {
            way.sit().await;
        }
        head.extensions.insert(way.clone());
        let mut reply = match self.guard.check(&head, page.is_some()) {
            Ok(()) => {
                let reply = self.route(page, Request::from_parts(head, body)).await;
                settled(&self.shared, reply).await?
            }
            Err(stranger) => {
                tracing::info!(path = head.uri.path(), ?stranger, "the admin port refuses a request");
                text(&self.shared, stranger.status(), stranger.message())
            }
        };
        reply.body_mut().keep(way);
        let headers = reply.headers_mut();
        for (name, value) in HEADERS_OF_ALL {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        // Of the service; a browser that believed it would find nothing here any more.
        headers.remove(STRICT_TRANSPORT_SECURITY);
        Ok(reply)
    }

    /// Who asks for a device is answered in the service's shape, who asks for `/api/` in JSON, everybody
    /// else in text.
    async fn route(&self, page: Option<portal::File>, request: Request<Incoming>) -> Result<Reply, Cut> {
        let shared = &self.shared;
        if let Some(file) = page {
            return Ok(file.reply(shared, request.method()));
        }
        let path = request.uri().path().to_owned();
        if let Some(path) = path.strip_prefix("/api/") {
            return api::answer(self, path, request).await;
        }
        if let Some(path) = path.strip_prefix("/dps").filter(|it| crate::service::is_for_dps(it)) {
            return crate::service::handle_open(shared, path, request).await;
        }
        if let Some((hub, at)) = path.strip_prefix("/hubs/").and_then(|it| Some((it, it.find('/')?)))
            && let (hub, path) = hub.split_at(at)
            && crate::service::is_for_hub(path)
        {
            return crate::service::handle_hub(shared, hub, path, request).await;
        }
        match service::Asked::parse(&path) {
            Some(asked) => service::answer(shared, asked, request).await,
            None => Ok(answer(shared, &request)),
        }
    }

    /// An answer that goes on. There may be so many at a time.
    fn stream(&self, feed: impl Feed, shape: Shape, restarted: bool, content_type: &str) -> Result<Reply, Failure> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Failure::busy())?;
        let stream = Stream::new(feed, shape, restarted, self.shared.closing.subscribe(), permit);
        let mut reply = reply(&self.shared.clock, 200, content_type, Paced::stream(stream));
        reply.headers_mut().insert(CONTENT_TYPE, value(content_type));
        Ok(reply)
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

/// Nothing here is for frames, caches, or pages of others. The portal's files bring stricter ones.
const HEADERS_OF_ALL: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (X_FRAME_OPTIONS, "DENY"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const PATHS: &str = "There is /health, /ca.pem, /telemetry/{hub}, and for a device /twins/{hub}/{device}, \
                     /methods/{hub}/{device} and /messages/{hub}/{device}; a module is {device}/modules/{module}. \
                     The service API of DPS is below /dps, that of a hub below /hubs/{hub}. The emulator's own \
                     doors are /api/status, /api/events, /api/telemetry/{hub}, /api/telemetry/{hub}/export, \
                     /api/faults, /api/clock, /api/keys, /api/export, /api/import, /api/reset and \
                     /api/devices/{hub}/{device}/disconnect.";

/// Connections that are answered at a time; as many more may wait in the lobby.
const MOST: usize = 256;

/// Guests that go when there are no file descriptors left.
const MANY: usize = 16;

/// Streams among them, so that they cannot take every place.
const STREAMS: usize = 128;

/// Imports that are received at a time, each in memory: more are refused.
const UPLOADS: usize = 4;

/// How long a client may take to take what it is sent.
const TAKE: Duration = Duration::from_secs(30);

/// How long connections may take to end when everything ends.
const FAREWELL: Duration = Duration::from_secs(1);

const HEADERS: Duration = Duration::from_secs(30);
const HEADERS_MOST: usize = 16 * 1024;
