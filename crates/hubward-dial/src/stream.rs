//! The lower seam: a byte stream, and whoever opens one.

use std::fmt;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{DialError, DialProgress, Endpoint};

/// Bytes in both directions: TLS over TCP, a WebSocket, or a pipe in a test.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> ByteStream for S {}

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

    /// How far the latest dial has come, where that is known: a caller that drops the future at a
    /// deadline of its own can then say what hung.
    fn progress(&self) -> Option<&DialProgress> {
        None
    }
}
