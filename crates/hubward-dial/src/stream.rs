//! The traits that every protocol builds on: a byte stream, and a dialer that opens byte streams.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{DialError, DialProgress, Endpoint};

/// Bytes in both directions: TLS over TCP, a WebSocket, or a pipe in a test.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> ByteStream for S {}

/// An open byte stream, with the facts that the dialer learned about the peer.
#[derive(Debug)]
#[non_exhaustive]
#[must_use]
pub struct Opened {
    /// The stream, ready for the application protocol.
    pub stream: Box<dyn ByteStream>,
    /// The peer's time, from the `Date` header of its answer to a WebSocket upgrade. `None` without an upgrade or
    /// without a valid header.
    pub server_time: Option<SystemTime>,
    /// Whether the client presents a certificate to a server that asks for one. With TLS 1.3, the server can refuse the
    /// certificate after the dialer has opened the stream.
    pub has_certificate: bool,
}

impl Opened {
    /// Creates the result for a stream without a server time and without a client certificate.
    pub const fn new(stream: Box<dyn ByteStream>) -> Self {
        Self { stream, server_time: None, has_certificate: false }
    }

    /// Sets the peer's time.
    pub const fn server_time(mut self, server_time: Option<SystemTime>) -> Self {
        self.server_time = server_time;
        self
    }

    /// Sets whether the client has a certificate.
    pub const fn has_certificate(mut self, has_certificate: bool) -> Self {
        self.has_certificate = has_certificate;
        self
    }
}

/// Opens byte streams.
#[async_trait]
pub trait Dialer: Send + Sync + fmt::Debug {
    /// Opens a byte stream to `to`. The dialer completes the TLS handshake and, if necessary, the WebSocket upgrade.
    /// The returned stream is ready for the application protocol.
    ///
    /// # Errors
    /// [`DialError`] if the network fails, the certificate is not trusted, or the server refuses the WebSocket
    /// upgrade.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError>;

    /// Opens a byte stream as [`Dialer::dial`] does, and also returns what the dialer learned about the peer.
    ///
    /// A dialer overrides this method if it learns such a fact, for example the server's time. A dialer on top of
    /// another one passes on [`Opened::has_certificate`].
    ///
    /// # Errors
    /// As for [`Dialer::dial`].
    ///
    /// # Cancel safety
    /// As for [`Dialer::dial`].
    async fn open(&self, to: &Endpoint) -> Result<Opened, DialError> {
        self.dial(to).await.map(Opened::new)
    }

    /// Returns the current step of the latest dial, if the dialer records it. If a caller drops the future at its own
    /// deadline, it can then report which step did not finish.
    fn progress(&self) -> Option<&DialProgress> {
        None
    }
}
