//! A byte stream in binary WebSocket frames, for the client and the server.
//!
//! The peer reads exactly the bytes that were written. Frame boundaries have no meaning, so any byte protocol, such as
//! MQTT, can use the stream.
//!
//! ```
//! use hubward_ws::WebSocketStream;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // The two ends of a pipe. The HTTP upgrade has already taken place.
//! let (here, there) = tokio::io::duplex(1024);
//! let (mut client, mut server) = (WebSocketStream::client(here).await, WebSocketStream::server(there).await);
//!
//! client.write_all(b"hello").await?;
//! client.flush().await?;
//! let mut received = [0; 5];
//! server.read_exact(&mut received).await?;
//! assert_eq!(&received, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! * [`WsDialer`] performs the client side of the upgrade over any [`Dialer`].
//! * This crate does not answer upgrade requests. A server answers the request itself, with the result of
//!   [`accept_key`] in the answer. Then it wraps the connection with [`WebSocketStream::server`].
//! * Written bytes are sent on a flush, or when 16 KiB are buffered. Each write becomes one frame of at most 16 KiB.
//! * The stream answers pings while the caller reads. A text frame is an error, because MQTT uses binary frames only.
//! * All buffers are bounded: a frame or message has at most 1 MiB, and a connection buffers 16 KiB in each direction.
//! * tungstenite logs frames with their payload through the `log` crate at level trace. hubward's own programs do not
//!   use `log`. If your program uses `log`, disable the target `tungstenite`.

mod dialer;
mod stream;

pub use dialer::WsDialer;
// Types in this crate's public API.
pub use hubward_dial::{ByteStream, DialError, Dialer, Endpoint};
pub use stream::{MESSAGE_MAX, WebSocketStream, accept_key};
