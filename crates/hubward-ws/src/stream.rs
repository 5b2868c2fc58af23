//! The adapter between WebSocket messages and a byte stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Maximum size in bytes of a frame or message that is accepted: four times the largest telemetry message.
///
/// Source: `[guess]` no source names the largest frame that the services send.
pub const MESSAGE_MAX: usize = 1024 * 1024;

/// Buffer size in bytes per direction, and maximum payload of a frame that this crate sends.
const BUFFER: usize = 16 * 1024;

/// Computes the value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
///
/// Source: RFC 6455, section 4.2.2.
#[must_use]
pub fn accept_key(sec_websocket_key: &[u8]) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(sec_websocket_key)
}

/// A byte stream in WebSocket frames, over any other byte stream.
///
/// A read returns zero bytes after the peer has closed the WebSocket cleanly. If the stream below fails, a read returns
/// its error. Otherwise, a read fails in these cases:
///
/// * [`io::ErrorKind::UnexpectedEof`] if the connection ends without a Close frame;
/// * [`io::ErrorKind::ConnectionAborted`] if the Close frame names a problem;
/// * [`io::ErrorKind::InvalidData`] if the peer violates the WebSocket protocol or sends a text frame.
///
/// `shutdown` sends a Close frame, then shuts down the stream below. It does not wait for the peer's Close frame.
pub struct WebSocketStream<S> {
    inner: tokio_tungstenite::WebSocketStream<S>,
    /// The unread rest of the last message.
    incoming: Bytes,
    /// Whether reading has ended. From then on, every read returns zero bytes.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Creates the client's end of a WebSocket, after the upgrade. The future completes without waiting.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn client(stream: S) -> Self {
        Self::from_raw(stream, Role::Client).await
    }

    /// Creates the server's end of a WebSocket. The future completes without waiting.
    ///
    /// Before this call, the server must have answered the upgrade request with status `101`, [`accept_key`] and the
    /// subprotocol.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn server(stream: S) -> Self {
        Self::from_raw(stream, Role::Server).await
    }

    async fn from_raw(stream: S, role: Role) -> Self {
        Self::new(tokio_tungstenite::WebSocketStream::from_raw_socket(stream, role, Some(config())).await)
    }
}

impl<S> WebSocketStream<S> {
    pub(crate) const fn new(inner: tokio_tungstenite::WebSocketStream<S>) -> Self {
        Self { inner, incoming: Bytes::new(), ended: false }
    }
}

pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        // If the write buffer exceeded this size, tungstenite would report an error. This does not happen: while the
        // stream below is blocked, `poll_ready` accepts no frame until the buffer is flushed.
        .max_write_buffer_size(4 * BUFFER)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while this.incoming.is_empty() {
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            // An empty `Bytes` still references tungstenite's read buffer; drop it so that the buffer is reused.
            this.incoming = Bytes::new();
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.incoming = bytes,
                // tungstenite answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(close))) => {
                    this.ended = true;
                    // Send the answer to the peer's Close frame, as far as this is possible without waiting.
                    let _ = Pin::new(&mut this.inner).poll_flush(cx);
                    if let Some(problem) = close.as_ref().and_then(problem_of) {
                        return Poll::Ready(Err(problem));
                    }
                }
                Some(Ok(Message::Text(_))) => {
                    this.ended = true;
                    return Poll::Ready(Err(invalid(
                        "received a text frame; only binary frames are allowed".to_owned(),
                    )));
                }
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Err(io_error(error)));
                }
                None => this.ended = true,
            }
        }
        let count = this.incoming.len().min(buf.remaining());
        buf.put_slice(&this.incoming[..count]);
        this.incoming.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(Pin::new(&mut this.inner).poll_ready(cx)).map_err(io_error)?;
        let chunk = &buf[..buf.len().min(BUFFER)];
        Pin::new(&mut this.inner).start_send(Message::Binary(Bytes::copy_from_slice(chunk))).map_err(io_error)?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match ready!(Pin::new(&mut this.inner).poll_close(cx)) {
            Ok(()) | Err(WsError::AlreadyClosed | WsError::ConnectionClosed) => {}
            Err(error) => return Poll::Ready(Err(io_error(error))),
        }
        Pin::new(this.inner.get_mut()).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for WebSocketStream<S> {
    /// Omits the buffers, because they may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// The problem that the peer's Close frame names; `None` if the peer closed cleanly.
fn problem_of(close: &CloseFrame) -> Option<io::Error> {
    if matches!(close.code, CloseCode::Normal | CloseCode::Away | CloseCode::Status) {
        return None;
    }
    let reason: String = close.reason.chars().filter(|it| !it.is_control()).take(120).collect();
    let code = u16::from(close.code);
    Some(io::Error::new(io::ErrorKind::ConnectionAborted, format!("the peer closed the WebSocket: {code} {reason}")))
}

fn io_error(error: WsError) -> io::Error {
    match error {
        WsError::Io(error) => error,
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended without closing the WebSocket")
        }
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::SendAfterClosing | ProtocolError::ReceivedAfterClosing) => {
            io::Error::new(io::ErrorKind::BrokenPipe, "the WebSocket is closed")
        }
        // This error contains the frame, which must not reach a log.
        WsError::WriteBufferFull(_) => io::Error::other("the WebSocket's write buffer is full"),
        other => invalid(other.to_string()),
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
