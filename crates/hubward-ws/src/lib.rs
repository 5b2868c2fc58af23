//! A byte stream inside binary WebSocket frames, both ends. What is written on one side is read on
//! the other; where a frame begins means nothing, so any byte protocol fits, MQTT above all.
//!
//! ```
//! use hubward_ws::WebSocketStream;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! // Both ends of a pipe over which the HTTP upgrade has been done already.
//! let (here, there) = tokio::io::duplex(1024);
//! let (mut client, mut server) = (WebSocketStream::client(here).await, WebSocketStream::server(there).await);
//!
//! client.write_all(b"hello").await?;
//! client.flush().await?;
//! let mut heard = [0; 5];
//! server.read_exact(&mut heard).await?;
//! assert_eq!(&heard, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Behavior
//!
//! * [`WsDialer`] puts the client side of the upgrade on top of any [`Dialer`];
//!   a server answers the upgrade itself ([`accept_key`]) and wraps what is left
//!   ([`WebSocketStream::server`]).
//! * Bytes written are sent when flushed, or when 16 KiB have gathered; one write makes one frame.
//! * Pings are answered while reading. A text frame is an error: nobody who speaks MQTT sends one.
//! * Nothing grows without bound: a frame or message may have 1 MiB, a connection keeps 16 KiB in
//!   each direction.
//! * tungstenite writes frames, payload included, to the `log` crate at level trace. hubward's own
//!   programs do not listen to `log`; one that does should silence the target `tungstenite`.

mod dialer;
mod stream;

pub use dialer::WsDialer;
// What crosses this crate's functions.
pub use hubward_dial::{ByteStream, DialError, Dialer, Endpoint};
pub use stream::{MESSAGE_MAX, WebSocketStream, accept_key};
