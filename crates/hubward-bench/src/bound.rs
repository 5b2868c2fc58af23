//! Measures the bound: the throughput of a minimal client. This client uses only tokio, rustls and hand-written frames,
//! and keeps no record of each message.
//!
//! The client is one task with one TLS stream. It copies a PUBLISH from a template and sets the packet id. It counts
//! the acknowledgements, and does not check their packet ids.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::frame::{self, PublishTemplate, invalid};
use crate::measure::Load;

/// Size in bytes at which the client writes its output buffer: one TLS record.
const OUT_FULL: usize = 16 * 1024;

/// A connected client that keeps no record of single messages.
#[derive(Debug)]
pub(crate) struct Bound<S> {
    stream: S,
    publish: PublishTemplate,
    window: usize,
    next_id: u16,
    out: Vec<u8>,
    written: usize,
    input: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bound<S> {
    /// Sends CONNECT on `stream` and waits for CONNACK.
    ///
    /// # Errors
    /// An I/O error, or a CONNACK that refuses the connection.
    pub(crate) async fn login(mut stream: S, device: &str, load: &Load) -> io::Result<Self> {
        stream.write_all(&frame::connect(device, device, "none")).await?;
        stream.flush().await?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await?;
        if connack != [frame::CONNACK, 2, 0, 0] {
            return Err(invalid("the CONNACK does not accept the connection"));
        }
        Ok(Self {
            stream,
            publish: PublishTemplate::new(&format!("devices/{device}/messages/events/"), &load.payload),
            window: load.window,
            next_id: 0,
            out: Vec::with_capacity(2 * OUT_FULL),
            written: 0,
            input: BytesMut::with_capacity(OUT_FULL),
        })
    }

    /// Sends `messages` messages, and waits for the same number of acknowledgements.
    ///
    /// # Errors
    /// An I/O error, or a packet other than PUBACK.
    pub(crate) async fn send(&mut self, messages: usize) -> io::Result<()> {
        let (mut sent, mut acknowledged) = (0, 0);
        std::future::poll_fn(|cx| {
            loop {
                while sent < messages && sent - acknowledged < self.window && self.out.len() < OUT_FULL {
                    self.next_id = if self.next_id == u16::MAX { 1 } else { self.next_id + 1 };
                    self.publish.push(&mut self.out, self.next_id);
                    sent += 1;
                }
                let more = sent < messages && sent - acknowledged < self.window;
                if self.poll_write(cx)?.is_ready() && more {
                    continue;
                }
                acknowledged += ready!(self.poll_read(cx))?;
                if acknowledged >= messages {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    /// Sends DISCONNECT and closes the connection.
    ///
    /// # Errors
    /// An I/O error.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        self.stream.write_all(&[frame::DISCONNECT, 0]).await?;
        self.stream.shutdown().await
    }

    /// Writes and flushes the output buffer. Returns `Ready` when all bytes are written and flushed.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.out.clear();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads once and returns the number of complete acknowledgements.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; 4096];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        if chunk.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.input.extend_from_slice(chunk.filled());
        let mut count = 0;
        while let Some(ack) = self.input.first_chunk::<4>() {
            if ack[..2] != [frame::PUBACK, 2] {
                return Poll::Ready(Err(invalid("expected a PUBACK")));
            }
            self.input.advance(4);
            count += 1;
        }
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::duplex;

    use super::*;

    /// The peer sends no acknowledgement until the client has stopped sending. The client must then have sent exactly
    /// one window of messages.
    #[tokio::test(start_paused = true)]
    async fn the_window_limits_the_messages_in_flight() {
        for window in [1, 7, 100] {
            let load = Load { payload: Bytes::from_static(&[7; 256]), window, messages: 3 * window };
            let (client, mut peer) = duplex(1024 * 1024);
            let sender = tokio::spawn(async move {
                let mut bound = Bound::login(client, "d", &load).await?;
                bound.send(load.messages).await?;
                bound.close().await
            });
            let mut connect = [0; 256];
            let _ = peer.read(&mut connect).await.expect("CONNECT");
            peer.write_all(&[frame::CONNACK, 2, 0, 0]).await.expect("CONNACK");
            for _ in 0..3 {
                let mut got = BytesMut::new();
                // The paused clock advances only while every task waits. If this timeout passes, the client is
                // therefore waiting, and has stopped sending.
                while tokio::time::timeout(Duration::from_secs(1), peer.read_buf(&mut got)).await.is_ok() {}
                let mut acks = Vec::new();
                while let Some(packet) = frame::first(&got).expect("a frame") {
                    assert_eq!(packet.header, frame::PUBLISH_QOS1);
                    acks.extend(frame::puback(frame::publish_id(packet.body).expect("an id")));
                    let len = packet.len;
                    got.advance(len);
                }
                assert_eq!(acks.len(), 4 * window, "window {window}");
                peer.write_all(&acks).await.expect("PUBACKs");
            }
            sender.await.expect("no panic").expect("all acknowledged");
        }
    }

    #[tokio::test]
    async fn a_refused_login_is_an_error() {
        let (client, mut peer) = duplex(1024);
        peer.write_all(&[frame::CONNACK, 2, 0, 5]).await.expect("CONNACK");
        let load = Load { payload: Bytes::new(), window: 1, messages: 1 };
        assert!(Bound::login(client, "d", &load).await.is_err());
    }
}
