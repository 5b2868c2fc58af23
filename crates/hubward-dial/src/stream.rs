//! The lower seam: a byte stream, and whoever opens one.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{DialError, DialProgress, Endpoint};

/// Bytes in both directions: TLS over TCP, a WebSocket, or a pipe in a test.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> ByteStream for S {}

/// A byte stream, and what the peer showed of itself while it was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// Ready for the protocol above.
    pub stream: Box<dyn ByteStream>,
    /// The peer's clock: the `Date` of the answer to a WebSocket upgrade. TLS shows none.
    pub server_time: Option<SystemTime>,
}

impl Opened {
    /// A stream of a peer that showed nothing.
    #[must_use]
    pub const fn new(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, server_time: None }
    }

    /// Adds the peer's clock.
    #[must_use]
    pub const fn server_time(mut self, server_time: Option<SystemTime>) -> Self {
        self.server_time = server_time;
        self
    }
}

/// Opens byte streams.
#[async_trait]
pub trait Dialer: Send + Sync + fmt::Debug {
    /// Opens one to `to`, ready for the protocol above: secure, upgraded.
    ///
    /// # Errors
    /// [`DialError`]: network, trust, or an HTTP answer where a WebSocket was asked for.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError>;

    /// Like [`Dialer::dial`], with what the peer showed meanwhile. A dialer on top of another one that
    /// learns something on the way overrides this.
    ///
    /// # Errors
    /// As for [`Dialer::dial`].
    ///
    /// # Cancel safety
    /// As for [`Dialer::dial`].
    async fn open(&self, to: &Endpoint) -> Result<Opened, DialError> {
        self.dial(to).await.map(Opened::new)
    }

    /// How far the latest dial has come, where that is known: a caller that drops the future at a
    /// deadline of its own can then say what hung.
    fn progress(&self) -> Option<&DialProgress> {
        None
    }
}
