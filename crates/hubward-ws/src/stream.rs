//! The adapter: WebSocket messages on one side, a byte stream on the other.

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

/// Most bytes of a frame or message that is accepted: four times the largest telemetry message.
///
/// Source: `[guess]` no source names what the services send at most.
pub const MESSAGE_MAX: usize = 1024 * 1024;

/// Bytes kept per direction, and the most that one frame of ours carries.
const BUFFER: usize = 16 * 1024;

/// The value of `Sec-WebSocket-Accept` that belongs to a `Sec-WebSocket-Key`.
///
/// Source: RFC 6455, section 4.2.2.
#[must_use]
pub fn accept_key(sec_websocket_key: &[u8]) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(sec_websocket_key)
}

/// Bytes inside WebSocket frames, over any byte stream.
///
/// Reading ends (zero bytes) when the peer closes the WebSocket in order. Its end without that is
/// [`io::ErrorKind::UnexpectedEof`], a close that names a problem [`io::ErrorKind::ConnectionAborted`],
/// a broken rule of WebSocket or a text frame [`io::ErrorKind::InvalidData`].
///
/// Shutting down sends the Close frame, then shuts down the stream below, without waiting for the
/// peer's Close.
pub struct WebSocketStream<S> {
    inner: tokio_tungstenite::WebSocketStream<S>,
    /// What the reader has not taken yet of the last message.
    incoming: Bytes,
    /// How reading ended; an orderly end is repeated, whatever comes after it.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// The client's end of a WebSocket whose upgrade is done. Ready at once.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn client(stream: S) -> Self {
        Self::from_raw(stream, Role::Client).await
    }

    /// The server's end of a WebSocket whose upgrade is done: `101` was sent, with
    /// [`accept_key`] and the subprotocol. Ready at once.
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
        // Never reached: a blocked stream is flushed before the next frame is taken.
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
            // An empty rest still holds the buffer it was cut from; without it tungstenite reuses that.
            this.incoming = Bytes::new();
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.incoming = bytes,
                // tungstenite answers pings by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(close))) => {
                    this.ended = true;
                    // Our Close in return, as far as it goes without waiting.
                    let _ = Pin::new(&mut this.inner).poll_flush(cx);
                    if let Some(problem) = close.as_ref().and_then(problem_of) {
                        return Poll::Ready(Err(problem));
                    }
                }
                Some(Ok(Message::Text(_))) => {
                    this.ended = true;
                    return Poll::Ready(Err(invalid("a text frame, where only binary ones carry bytes".to_owned())));
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
    /// Without contents: the buffers may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What a peer complains about when it closes; `None` for an orderly end.
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
        // Holds the frame that did not fit: its text must not reach a log.
        WsError::WriteBufferFull(_) => io::Error::other("the WebSocket's write buffer is full"),
        other => invalid(other.to_string()),
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
