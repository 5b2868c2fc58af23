//! A byte stream with two bounded buffers, for reading and writing. Does not interpret packets.

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

/// [`Link::has_room`] returns `true` while fewer bytes than this are unwritten. The last message that the link accepts
/// may exceed this limit.
const ROOM: usize = 64 * 1024;

/// Reading pauses when this many bytes are unwritten.
///
/// At most 394 KB of these bytes are messages of the program: [`ROOM`], and one more telemetry message with its topic
/// (up to 328 KB). The rest is for replies to messages from the peer.
const BACKLOG_MAX: usize = 512 * 1024;

/// Maximum number of bytes per read: enough for a thousand PUBACKs.
const READ_CHUNK: usize = 4 * 1024;

/// If an empty buffer has a larger capacity than this, the link frees it.
const KEEP_CAPACITY: usize = 2 * ROOM;

/// How long closing waits for the peer to end its half of the stream. A peer normally ends its half immediately.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// A byte stream with buffers. The caller polls it; all state is in `self`.
pub(crate) struct Link {
    stream: Box<dyn ByteStream>,
    /// The CONNECT packet. It is separate from `out`, because the link wipes the packet after writing it.
    login: Cursor<Zeroizing<Vec<u8>>>,
    out: BytesMut,
    input: BytesMut,
    unflushed: bool,
    sent: u64,
    /// Whether our half of the stream is shut down.
    is_shut: bool,
    /// Limits how long closing waits until the peer ends its half.
    close_timer: Option<Pin<Box<Sleep>>>,
}

impl Link {
    /// Creates a link that first writes `login`.
    pub(crate) fn new(stream: Box<dyn ByteStream>, login: Zeroizing<Vec<u8>>) -> Self {
        let (out, input) = (BytesMut::new(), BytesMut::new());
        let login = Cursor::new(login);
        Self { stream, login, out, input, unflushed: false, sent: 0, is_shut: false, close_timer: None }
    }

    /// Returns whether another message may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() < ROOM
    }

    /// Returns whether reading must pause because too many bytes are unwritten.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.out.len() >= BACKLOG_MAX
    }

    /// The buffer of queued packets.
    pub(crate) const fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// The received bytes that are not decoded yet.
    pub(crate) const fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Number of bytes written to the stream so far.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes the queued bytes, and then flushes the stream. Returns `Ready` when all bytes are written and flushed, or
    /// if this has failed.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.login.has_remaining() {
            let written = ready!(write(&mut self.stream, cx, self.login.chunk()))?;
            self.login.advance(written);
            self.on_written(written);
            if !self.login.has_remaining() {
                // Dropping the old value wipes it.
                self.login = Cursor::new(Zeroizing::new(Vec::new()));
            }
        }
        while !self.out.is_empty() {
            let written = ready!(write(&mut self.stream, cx, &self.out))?;
            self.out.advance(written);
            self.on_written(written);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
            if self.out.capacity() > KEEP_CAPACITY {
                self.out = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once into [`Link::input`]. Returns 0 at the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() && self.input.capacity() > KEEP_CAPACITY {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_CHUNK);
        pin!(self.stream.read_buf(&mut self.input)).poll(cx)
    }

    /// Writes the queued bytes and shuts down our half of the stream. Returns `Ready` when this is done or has failed.
    ///
    /// If `wait_for_peer` is set, also waits until the peer ends its half of the stream, but at most [`CLOSE_WAIT`].
    /// The end of this half shows that the peer has read everything.
    ///
    /// Without this wait, the device could connect again before the hub has read the last bytes, such as an
    /// acknowledgement. The hub would then close the old connection and not read these bytes.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>, wait_for_peer: bool) -> Poll<()> {
        if !self.is_shut {
            // Ignore write errors: the connection ends anyway.
            let written = ready!(self.poll_write(cx)).is_ok();
            if !written || ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.is_shut = true;
        }
        if !wait_for_peer
            || self.close_timer.get_or_insert_with(|| Box::pin(sleep(CLOSE_WAIT))).as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        loop {
            self.input.clear();
            if matches!(ready!(self.poll_read(cx)), Ok(0) | Err(_)) {
                return Poll::Ready(());
            }
        }
    }

    const fn on_written(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.unflushed = true;
    }
}

/// Prints no contents of the buffers.
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
