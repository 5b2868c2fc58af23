//! Responses over HTTP and their bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use tokio::time::{Sleep, sleep};

#[cfg(feature = "admin")]
use crate::doors::admission::RequestSlot;
use crate::state::clock::{Clock, http_date};

/// How long to wait before the emulator cuts a connection. During this time, the system sends the last bytes.
const GONE: Duration = Duration::from_millis(20);

/// An HTTP response.
pub(crate) type Reply = Response<Paced>;

/// Cuts the connection instead of sending a response.
#[derive(Debug, thiserror::Error)]
#[error("a scripted fault ends the connection")]
pub(crate) struct Aborted;

/// How to send a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    #[default]
    AtOnce,
    /// One byte at a time, with a pause before each.
    Drip(Duration),
    /// In chunks of this many bytes, without Content-Length.
    Chunks(usize),
    /// Sends only this number of bytes of the body, and then cuts the connection.
    CutAfter(usize),
}

/// A body, and how to send it.
#[derive(Default)]
pub(crate) struct Paced {
    rest: Bytes,
    pace: Pace,
    pause: Option<Pin<Box<Sleep>>>,
    /// The chunks after `rest`.
    more: Option<Box<dyn Chunks>>,
    /// The slot of the request, if the request holds a slot until the response is sent.
    #[cfg(feature = "admin")]
    slot: Option<RequestSlot>,
}

/// A body that is produced while it is sent. Each chunk is produced only after the connection has taken the previous
/// chunk.
pub(crate) trait Chunks: Send {
    /// The next chunk; `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl Paced {
    pub(crate) fn new(bytes: impl Into<Bytes>, pace: Pace) -> Self {
        Self { rest: bytes.into(), pace, ..Self::default() }
    }

    pub(crate) fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Holds the slot of the request until the response is sent.
    #[cfg(feature = "admin")]
    pub(crate) fn keep(&mut self, slot: RequestSlot) {
        self.slot = Some(slot);
    }

    /// A body of unknown length.
    #[cfg(feature = "admin")]
    pub(crate) fn stream(chunks: impl Chunks + 'static) -> Self {
        Self { more: Some(Box::new(chunks)), ..Self::default() }
    }
}

impl std::fmt::Debug for Paced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rest, pace, more, .. } = self;
        f.debug_struct("Paced").field("rest", rest).field("pace", pace).field("more", &more.is_some()).finish()
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let Some(more) = &mut this.more else { return Poll::Ready(None) };
            let chunk = ready!(more.poll_chunk(cx));
            if chunk.is_none() {
                this.more = None;
            }
            return Poll::Ready(chunk.map(|it| Ok(Frame::data(it))));
        }
        let length = match this.pace {
            Pace::AtOnce => this.rest.len(),
            Pace::Drip(every) => {
                ready!(this.pause.get_or_insert_with(|| Box::pin(sleep(every))).as_mut().poll(cx));
                this.pause = None;
                1
            }
            Pace::Chunks(bytes) => bytes.clamp(1, this.rest.len()),
            Pace::CutAfter(bytes) => return this.cut_after(cx, bytes),
        };
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.more.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.pace {
            _ if self.more.is_some() => SizeHint::default(),
            Pace::Chunks(_) => SizeHint::default(),
            Pace::AtOnce | Pace::Drip(_) | Pace::CutAfter(_) => SizeHint::with_exact(self.rest.len() as u64),
        }
    }
}

impl Paced {
    /// Sends at most `bytes` bytes. If the body is longer, then waits for [`GONE`] and fails, which cuts the
    /// connection.
    fn cut_after(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if bytes >= self.rest.len() {
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_off(0)))));
        }
        if bytes > 0 {
            self.pace = Pace::CutAfter(0);
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))));
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(GONE)));
        pause.as_mut().poll(cx).map(|()| Some(Err(Aborted)))
    }
}

/// Adds headers to a response. Replaces existing headers of the same name. Ignores invalid headers, `Content-Length`
/// and `Transfer-Encoding`.
pub(crate) fn add_headers(reply: &mut Reply, headers: &[(String, String)]) {
    for (name, text) in headers {
        if let Some((name, value)) = header(name, text) {
            reply.headers_mut().insert(name, value);
        }
    }
}

/// Converts a name and a value to a header for a response. Returns `None` if the header is invalid, or if it is
/// `Content-Length` or `Transfer-Encoding`.
pub(crate) fn header(name: &str, text: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok();
    let name = name.filter(|it| ![CONTENT_LENGTH, TRANSFER_ENCODING].contains(it))?;
    Some((name, HeaderValue::from_str(text).ok()?))
}

/// A response whose Date header contains the time of the emulator's clock.
pub(crate) fn reply(clock: &Clock, status: u16, content_type: &str, body: Paced) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(DATE, value(&http_date(clock.now())));
    headers.insert(CONTENT_TYPE, value(content_type));
    reply
}

/// Converts a text to a header value. The value is empty if the text is not valid in a header.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Whether the content type is `application/json`, with any parameters.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
