//! Bodies of answers, and how an answer is put together.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue};
use tokio::time::{Sleep, sleep};

use crate::clock::{Clock, http_date};

/// An answer over HTTP.
pub(crate) type Reply = Response<Bytewise>;

/// The connection is to be cut instead of answered.
#[derive(Debug, thiserror::Error)]
#[error("a scripted fault ends the connection")]
pub(crate) struct Cut;

/// A body that is sent at once, or one byte at a time.
#[derive(Debug, Default)]
pub(crate) struct Bytewise {
    rest: Bytes,
    drip: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Bytewise {
    pub(crate) fn new(bytes: impl Into<Bytes>, drip: Option<Duration>) -> Self {
        let drip = drip.map(|every| (every, Box::pin(sleep(every))));
        Self { rest: bytes.into(), drip }
    }
}

impl Body for Bytewise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = match &mut this.drip {
            None => this.rest.len(),
            Some((every, pause)) => {
                ready!(pause.as_mut().poll(cx));
                *pause = Box::pin(sleep(*every));
                1
            }
        };
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// An answer with the time of the emulator's clock.
pub(crate) fn reply(clock: &Clock, status: u16, content_type: &str, body: Bytewise) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(DATE, value(&http_date(clock.now())));
    headers.insert(CONTENT_TYPE, value(content_type));
    reply
}

/// A header value; empty if the text cannot be one.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
