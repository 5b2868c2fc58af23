//! Parses WebSocket frames, once as the client does and once as the server does.

use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use hubward_ws::WebSocketStream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A peer that sends fixed bytes and accepts all bytes that it gets.
#[derive(Debug, Default)]
struct Script {
    bytes: Vec<u8>,
    at: usize,
    /// Largest number of bytes per read.
    step: usize,
    written: Vec<u8>,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let count = (self.bytes.len() - self.at).min(self.step).min(buf.remaining());
        buf.put_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// If the first byte is odd, a server reads the frames. Otherwise a client reads them.
pub(super) fn websocket(bytes: &[u8]) -> bool {
    let Some((choice, bytes)) = bytes.split_first() else { return false };
    let is_server = choice & 1 == 1;
    let (content, end) = read(bytes, is_server, usize::MAX);
    assert_eq!(read(bytes, is_server, 1), (content.clone(), end), "reading byte by byte gives the same");
    assert!(content.len() <= bytes.len(), "the content is not longer than the frames");
    let expected = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionAborted, ErrorKind::InvalidData];
    assert!(end.is_none_or(|it| expected.contains(&it)), "{end:?}");
    check_return(bytes);
    !content.is_empty()
}

/// Returns the content of all frames. If the stream ended with an error, also returns the kind of this error.
fn read(bytes: &[u8], is_server: bool, step: usize) -> (Vec<u8>, Option<ErrorKind>) {
    let script = Script { bytes: bytes.to_vec(), step, ..Script::default() };
    now(async {
        let mut stream =
            if is_server { WebSocketStream::server(script).await } else { WebSocketStream::client(script).await };
        let mut content = Vec::new();
        let end = stream.read_to_end(&mut content).await.err().map(|it| it.kind());
        assert_eq!(
            stream.read(&mut [0; 8]).await.expect("an end without an error"),
            0,
            "a stream that has ended stays ended"
        );
        (content, end)
    })
}

/// Checks that a server can read the bytes that a client writes.
fn check_return(bytes: &[u8]) {
    let written = now(async {
        let mut script = Script::default();
        let mut stream = WebSocketStream::client(&mut script).await;
        stream.write_all(bytes).await.expect("written");
        stream.shutdown().await.expect("closed");
        drop(stream);
        script.written
    });
    assert_eq!(read(&written, true, 7), (bytes.to_vec(), None));
}

/// Returns the result of a future that completes at its first poll.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the future is pending"),
    }
}
