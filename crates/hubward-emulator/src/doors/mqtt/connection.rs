//! One MQTT connection over any byte stream: reads and writes packets. All buffers are bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::codec::{Incoming, Malformed, Outgoing, decode};
use crate::state::disk::StateLost;
use crate::state::store::Store;

/// Maximum size of the first packet, in bytes. It is enough for a CONNECT with long names and a will. This limit bounds
/// the memory that a client can use before it authenticates.
const CONNECT_MAX: usize = 72 * 1024;

/// Number of bytes to read at a time.
const READ: usize = 8 * 1024;

/// Number of queued bytes that [`Connection::is_full`] reports as full.
const WRITE: usize = 16 * 1024;

/// Time limit for one write.
const SEND: Duration = Duration::from_secs(30);

/// Time limit for closing a connection, including the wait until the client closes it too.
const LINGER: Duration = Duration::from_secs(2);

/// Maximum number of bytes that the emulator reads and discards while it closes a connection.
const DRAIN: usize = 1024 * 1024;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the client closed the connection without DISCONNECT")]
    Left,
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("the client sent a malformed packet: {0}")]
    Malformed(#[from] Malformed),
    #[error("the client broke the protocol: {0}")]
    Violation(&'static str),
    #[error("the client did not read what it was sent")]
    Slow,
    #[error("the client was silent for too long")]
    Silent,
    #[error("the state could not be saved, so nothing may be acknowledged")]
    Lost(#[from] StateLost),
    #[error("a scripted fault ended the connection")]
    Fault,
    #[error("the connection was taken over by a newer one")]
    TakenOver,
    #[error("the device may not be connected any more")]
    NotAllowed,
    #[error("the token has expired")]
    Expired,
    #[error("the client sent DISCONNECT")]
    Disconnected,
}

pub(crate) struct Connection<S> {
    stream: S,
    /// The store that writes changes to disk. If a packet reports a change, the change must be on disk before the
    /// packet is sent.
    store: Arc<Store>,
    input: BytesMut,
    output: BytesMut,
    /// Maximum size of a received packet, in bytes.
    max: usize,
    /// Pause after each sent byte, set by a scripted fault.
    drip: Option<Duration>,
    /// Number of bytes that may still be sent, including queued bytes. Set by a scripted fault that cuts the
    /// connection. `None` means no limit.
    rest: Option<usize>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Creates a connection that accepts packets of at most [`CONNECT_MAX`] bytes. [`Connection::allow`] changes this
    /// limit.
    pub(crate) fn new(stream: S, store: Arc<Store>) -> Self {
        Self {
            stream,
            store,
            input: BytesMut::new(),
            output: BytesMut::new(),
            max: CONNECT_MAX,
            drip: None,
            rest: None,
        }
    }

    /// Sets the maximum size of received packets to `max` bytes.
    pub(crate) const fn allow(&mut self, max: usize) {
        self.max = max;
    }

    /// Lets the connection send the queued packets and `bytes` more bytes. Sending more ends the connection.
    pub(crate) fn cut_after(&mut self, bytes: usize) {
        self.rest = Some(self.output.len().saturating_add(bytes));
    }

    /// Sends one byte at a time from now on.
    pub(crate) const fn drip(&mut self, every: Duration) {
        self.drip = Some(every);
    }

    /// Reads the next packet.
    ///
    /// # Cancel safety
    /// Bytes that were read stay in the buffer.
    pub(crate) async fn read(&mut self) -> Result<Incoming, Closed> {
        loop {
            if let Some(packet) = self.buffered()? {
                return Ok(packet);
            }
            self.input.reserve(READ);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Closed::Left);
            }
        }
    }

    /// The next packet, if the buffer holds a whole one.
    pub(crate) fn buffered(&mut self) -> Result<Option<Incoming>, Closed> {
        Ok(decode(&mut self.input, self.max)?)
    }

    /// Queues a packet for [`Connection::flush`].
    pub(crate) fn queue(&mut self, packet: &Outgoing) {
        packet.encode(&mut self.output);
    }

    /// Whether the caller should send the queued packets before it reads more.
    pub(crate) fn is_full(&self) -> bool {
        self.output.len() >= WRITE
    }

    /// Waits until all changes are on disk, then sends the queued packets. The sending has a time limit, but the wait
    /// for the disk has none. Not cancel safe.
    ///
    /// If no packets are queued, waits only until the store can take more changes.
    pub(crate) async fn flush(&mut self) -> Result<(), Closed> {
        if self.output.is_empty() {
            // A client may send only packets that need no answer. Without this wait, such a client could send changes
            // faster than the disk writes them.
            self.store.room().await;
            return Ok(());
        }
        self.store.flushed().await?;
        let mut bytes = self.output.split();
        let cut = self.rest.is_some_and(|rest| bytes.len() >= rest);
        if let Some(rest) = &mut self.rest {
            bytes.truncate(*rest);
            *rest -= bytes.len();
        }
        if let Some(every) = self.drip {
            for byte in bytes {
                self.send(&[byte]).await?;
                sleep(every).await;
            }
        } else {
            self.send(&bytes).await?;
        }
        if cut { Err(Closed::Fault) } else { Ok(()) }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(SEND, sending).await.map_err(|_| Closed::Slow)??;
        Ok(())
    }

    /// Sends the queued packets and shuts down the sending direction. Then reads and discards the client's input until
    /// the client closes the connection or a limit is reached. Finally closes the connection.
    ///
    /// The input must be read first: if a socket with unread input is closed, the system may discard packets that the
    /// client has not received yet.
    pub(crate) async fn close_gently(mut self) {
        let closing = async {
            self.flush().await.ok()?;
            self.stream.shutdown().await.ok()?;
            let mut discarded = [0; 1024];
            let mut rest = DRAIN;
            while rest > 0 {
                rest = rest.saturating_sub(self.stream.read(&mut discarded).await.ok().filter(|it| *it > 0)?);
            }
            Some(())
        };
        let _ = timeout(LINGER, closing).await;
    }

    /// Keeps the connection open and sends nothing.
    pub(crate) async fn hold(self) {
        crate::doors::accept::hold(self.stream).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::model::State;

    #[tokio::test]
    async fn cut_after_accepts_the_largest_number() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut connection = Connection::new(ours, Arc::new(Store::new(State::default())));
        connection.queue(&Outgoing::Pingresp);
        connection.cut_after(usize::MAX);
        connection.flush().await.expect("the limit is not reached");
        let mut pong = [0; 2];
        theirs.read_exact(&mut pong).await.expect("the whole packet");
        assert_eq!(&pong, b"\xd0\x00");
    }
}
