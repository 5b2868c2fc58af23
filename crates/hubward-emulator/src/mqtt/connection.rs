//! One MQTT connection over any byte stream: packets in, packets out, nothing unbounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::codec::{Incoming, Malformed, Outgoing, decode};
use crate::store::{StateLost, Store};

/// Why there is nothing more to read or write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the client left")]
    Left,
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("the client sent a malformed packet: {0}")]
    Malformed(#[from] Malformed),
    #[error("the client broke the protocol: {0}")]
    Violation(&'static str),
    #[error("the client did not take what it was sent")]
    Slow,
    #[error("the client was silent for too long")]
    Silent,
    #[error("nothing may be acknowledged")]
    Lost(#[from] StateLost),
    #[error("a scripted fault ended the connection")]
    Fault,
    #[error("the connection was taken over by a newer one")]
    TakenOver,
    #[error("the device may not be connected any more")]
    NotAllowed,
    #[error("the token has expired")]
    Expired,
    #[error("the client said goodbye")]
    Disconnected,
}

pub(crate) struct Connection<S> {
    stream: S,
    /// Nothing is sent before what it tells of is kept there.
    store: Arc<Store>,
    input: BytesMut,
    output: BytesMut,
    /// Bytes of the largest packet.
    most: usize,
    /// Pause after each byte that is sent, as a fault says.
    drip: Option<Duration>,
    /// How many of the bytes that are queued, and will be, may still be sent.
    rest: Option<usize>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Packets may be as large as a CONNECT, until [`Connection::allow`] says more.
    pub(crate) fn new(stream: S, store: Arc<Store>) -> Self {
        Self {
            stream,
            store,
            input: BytesMut::new(),
            output: BytesMut::new(),
            most: CONNECT_MOST,
            drip: None,
            rest: None,
        }
    }

    /// Lets packets have `most` bytes from now on.
    pub(crate) const fn allow(&mut self, most: usize) {
        self.most = most;
    }

    /// Sends what is queued, so many bytes more, and then ends the connection.
    pub(crate) fn cut_after(&mut self, bytes: usize) {
        self.rest = Some(self.output.len().saturating_add(bytes));
    }

    /// Sends one byte at a time from now on.
    pub(crate) const fn drip(&mut self, every: Duration) {
        self.drip = Some(every);
    }

    /// The next packet. Cancel safe: what was read stays in the buffer.
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

    /// The next packet, if it has been read already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Incoming>, Closed> {
        Ok(decode(&mut self.input, self.most)?)
    }

    /// Puts a packet where [`Connection::flush`] finds it.
    pub(crate) fn queue(&mut self, packet: &Outgoing) {
        packet.encode(&mut self.output);
    }

    /// Whether so much waits to be sent that it should be, before more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.output.len() >= WRITE
    }

    /// Sends what was queued, once what has happened is on disk. Bounded in time but for the disk's;
    /// not cancel safe.
    pub(crate) async fn flush(&mut self) -> Result<(), Closed> {
        if self.output.is_empty() {
            // A client that wants no answers may send faster than the disk takes it.
            self.store.room().await;
            return Ok(());
        }
        self.store.settled().await?;
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

    /// Ends the connection so that the client can still read what it was sent: closing a socket
    /// with unread bytes would make the system throw that away.
    pub(crate) async fn close_gently(mut self) {
        let closing = async {
            self.flush().await.ok()?;
            self.stream.shutdown().await.ok()?;
            let mut waste = [0; 1024];
            let mut rest = DRAIN;
            while rest > 0 {
                rest = rest.saturating_sub(self.stream.read(&mut waste).await.ok().filter(|it| *it > 0)?);
            }
            Some(())
        };
        let _ = timeout(LINGER, closing).await;
    }

    /// Keeps the connection open and says nothing.
    pub(crate) async fn hold(self) {
        crate::serve::hold(self.stream).await;
    }
}

/// Most bytes of the first packet: room for long names and a will, little for a stranger.
const CONNECT_MOST: usize = 72 * 1024;

/// How much is read at a time.
const READ: usize = 8 * 1024;

/// How much may wait to be sent.
const WRITE: usize = 16 * 1024;

/// How long a client may take to accept what is sent at once.
const SEND: Duration = Duration::from_secs(30);

/// How long a refused client may take to leave.
const LINGER: Duration = Duration::from_secs(2);

/// How much of what a refused client still sends is read.
const DRAIN: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::State;

    #[tokio::test]
    async fn a_cut_may_be_as_far_off_as_a_number_goes() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut connection = Connection::new(ours, Arc::new(Store::new(State::default())));
        connection.queue(&Outgoing::Pingresp);
        connection.cut_after(usize::MAX);
        connection.flush().await.expect("it is not reached");
        let mut pong = [0; 2];
        theirs.read_exact(&mut pong).await.expect("all of it");
        assert_eq!(&pong, b"\xd0\x00");
    }
}
