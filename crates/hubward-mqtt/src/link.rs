//! Bytes in and out: two bounded buffers around a byte stream. Knows no packet.

use std::fmt;
use std::future::Future;
use std::io::{self, Cursor};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hubward_dial::ByteStream;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Sleep, sleep};
use zeroize::Zeroizing;

/// Above this many unwritten bytes there is no room. Soft: the message that crosses it fits.
const ROOM: usize = 64 * 1024;

/// Above this many unwritten bytes, reading pauses. What was sent while there was room is at most
/// [`ROOM`] and one telemetry message, 390 KB; the rest are replies that the peer does not take.
const SWAMPED: usize = 512 * 1024;

/// How much is read at a time; a thousand PUBACKs.
const READ_CHUNK: usize = 4 * 1024;

/// An empty buffer larger than this is given back.
const KEEP: usize = 2 * ROOM;

/// How long a peer that has heard a good-bye is waited for. It answers by ending its half, at once.
const PARTING: Duration = Duration::from_millis(500);

/// A byte stream with buffers. Polled; all state is in `self`.
pub(crate) struct Link {
    stream: Box<dyn ByteStream>,
    /// The CONNECT packet, apart from the rest because it is wiped once it is written.
    login: Cursor<Zeroizing<Vec<u8>>>,
    out: BytesMut,
    input: BytesMut,
    unflushed: bool,
    sent: u64,
    /// Our half is ended.
    is_shut: bool,
    /// Since then, how long the other half may take.
    parting: Option<Pin<Box<Sleep>>>,
}

impl Link {
    /// A link that begins with `login`.
    pub(crate) fn new(stream: Box<dyn ByteStream>, login: Zeroizing<Vec<u8>>) -> Self {
        let (out, input) = (BytesMut::new(), BytesMut::new());
        let login = Cursor::new(login);
        Self { stream, login, out, input, unflushed: false, sent: 0, is_shut: false, parting: None }
    }

    /// Whether another message may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() < ROOM
    }

    /// Whether so much is unwritten that more should not be asked for by reading on.
    pub(crate) fn is_swamped(&self) -> bool {
        self.out.len() >= SWAMPED
    }

    /// Where packets are queued.
    pub(crate) const fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// What has arrived and was not taken yet.
    pub(crate) const fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// How many bytes the stream has taken so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes as much as the stream takes, then flushes once. Ready when nothing is left.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.login.has_remaining() {
            let taken = ready!(write(&mut self.stream, cx, self.login.chunk()))?;
            self.login.advance(taken);
            self.taken(taken);
            if !self.login.has_remaining() {
                // Dropping the old one wipes it.
                self.login = Cursor::new(Zeroizing::new(Vec::new()));
            }
        }
        while !self.out.is_empty() {
            let taken = ready!(write(&mut self.stream, cx, &self.out))?;
            self.out.advance(taken);
            self.taken(taken);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
            if self.out.capacity() > KEEP {
                self.out = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once into [`Link::input`]; 0 is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() && self.input.capacity() > KEEP {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_CHUNK);
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Writes what is queued and ends our half of the stream. Ready when that is done or cannot be.
    ///
    /// If `politely`, the peer is given a moment to end its half too: it has then read everything.
    /// Otherwise the last words, an acknowledgement say, may lose a race against the next connection,
    /// with which a hub ends this one unread.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>, politely: bool) -> Poll<()> {
        if !self.is_shut {
            // Who closes does not care how the peer takes it.
            let written = ready!(self.poll_write(cx)).is_ok();
            if !written || ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.is_shut = true;
        }
        if !politely || self.parting.get_or_insert_with(|| Box::pin(sleep(PARTING))).as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            self.input.clear();
            if matches!(ready!(self.poll_read(cx)), Ok(0) | Err(_)) {
                return Poll::Ready(());
            }
        }
    }

    const fn taken(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.unflushed = true;
    }
}

/// Prints nothing of what it carries.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("unwritten", &self.out.len()).field("sent", &self.sent).finish_non_exhaustive()
    }
}

fn write(stream: &mut Box<dyn ByteStream>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        taken => Poll::Ready(Ok(taken)),
    }
}
