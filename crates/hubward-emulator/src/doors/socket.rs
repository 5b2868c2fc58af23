//! A TCP socket that a scripted fault can slow down or cut off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A TCP socket. A scripted fault can make the socket pause after each byte, or stop after a number of bytes.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    drip: Option<Drip>,
    /// Number of bytes that may still be sent; `None` is unlimited.
    rest: Option<usize>,
}

#[derive(Debug)]
struct Drip {
    every: Duration,
    pause: Pin<Box<Sleep>>,
}

impl Socket {
    pub(crate) const fn new(tcp: TcpStream) -> Self {
        Self { tcp, drip: None, rest: None }
    }

    /// Allows `bytes` more bytes to be sent. Every later write fails.
    pub(crate) const fn cut_after(&mut self, bytes: usize) {
        self.rest = Some(bytes);
    }

    /// Sends one byte at a time, with a pause of `every` after each.
    pub(crate) fn drip(&mut self, every: Duration) {
        self.drip = Some(Drip { every, pause: Box::pin(sleep(Duration::ZERO)) });
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(rest) = this.rest {
            if rest == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, &bytes[..bytes.len().min(rest)]))?;
            this.rest = Some(rest - written);
            return Poll::Ready(Ok(written));
        }
        let Some(drip) = &mut this.drip else { return Pin::new(&mut this.tcp).poll_write(cx, bytes) };
        ready!(drip.pause.as_mut().poll(cx));
        let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, &bytes[..bytes.len().min(1)]))?;
        drip.pause = Box::pin(sleep(drip.every));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
