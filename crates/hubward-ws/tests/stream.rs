//! Tests that bytes arrive unchanged through WebSocket frames: between a client and a server of this crate, and between
//! one of them and hand-written frames.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hubward_ws::{MESSAGE_MAX, WebSocketStream, accept_key};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

type Stream = WebSocketStream<DuplexStream>;

async fn both_ends(pipe: usize) -> (Stream, Stream) {
    let (here, there) = duplex(pipe);
    (WebSocketStream::client(here).await, WebSocketStream::server(there).await)
}

/// A client of this crate, and the raw pipe to it.
async fn client_and_pipe() -> (Stream, DuplexStream) {
    let (here, there) = duplex(4 * MESSAGE_MAX);
    (WebSocketStream::client(here).await, there)
}

/// Returns bytes without a short repeating pattern. A comparison then detects missing, repeated and swapped parts.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|it| (it % 251) as u8).collect()
}

/// The bytes that can be read without waiting.
fn read_available(pipe: &mut DuplexStream) -> Vec<u8> {
    let mut space = vec![0; 64 * 1024];
    let mut buf = ReadBuf::new(&mut space);
    match Pin::new(pipe).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
        Poll::Ready(read) => read.expect("an open pipe"),
        Poll::Pending => {}
    }
    buf.filled().to_vec()
}

async fn echo(mut from: Stream, mut to: Stream, sent: &[u8]) {
    let (_, received) = tokio::join!(
        async {
            from.write_all(sent).await.expect("an open stream");
            from.shutdown().await.expect("an open stream");
        },
        async {
            let mut received = Vec::new();
            to.read_to_end(&mut received).await.expect("an orderly end");
            received
        }
    );
    assert!(received == sent, "{} bytes sent, {} received, or others", sent.len(), received.len());
}

#[tokio::test]
async fn every_size_arrives_in_both_directions() {
    // Sizes around the lengths at which the frame's header changes (125 and 65,535), around the buffer size, and one
    // byte above the maximum message size.
    for len in [0, 1, 125, 126, 127, 16_383, 16_384, 16_385, 65_535, 65_536, 200_000, MESSAGE_MAX + 1] {
        let sent = bytes(len);
        let (client, server) = both_ends(8 * 1024).await;
        echo(client, server, &sent).await;
        let (client, server) = both_ends(8 * 1024).await;
        echo(server, client, &sent).await;
    }
}

#[tokio::test]
async fn bytes_arrive_through_a_one_byte_pipe() {
    let (client, server) = both_ends(1).await;
    echo(client, server, &bytes(2_000)).await;
    let (client, server) = both_ends(1).await;
    echo(server, client, &bytes(2_000)).await;
}

#[tokio::test]
async fn a_reader_with_a_small_buffer_gets_everything() {
    let (mut client, mut server) = both_ends(1024).await;
    client.write_all(b"hello").await.expect("an open stream");
    client.flush().await.expect("an open stream");
    let mut received = Vec::new();
    while received.len() < 5 {
        received.push(server.read_u8().await.expect("a byte"));
    }
    assert_eq!(received, b"hello");
}

#[tokio::test]
async fn buffered_writes_are_sent_on_a_flush() {
    let (here, mut pipe) = duplex(1024);
    let mut server = WebSocketStream::server(here).await;
    server.write_all(b"ab").await.expect("an open stream");
    server.write_all(b"c").await.expect("an open stream");
    assert_eq!(read_available(&mut pipe), b"");
    server.flush().await.expect("an open stream");
    assert_eq!(read_available(&mut pipe), b"\x82\x02ab\x82\x01c");
}

#[tokio::test]
async fn a_peer_that_does_not_read_stops_the_writer() {
    let (mut client, _server) = both_ends(1024).await;
    let chunk = bytes(16 * 1024);
    let mut taken = 0;
    while let Poll::Ready(written) = Pin::new(&mut client).poll_write(&mut Context::from_waker(Waker::noop()), &chunk) {
        taken += written.expect("an open stream");
        assert!(taken <= 64 * 1024, "{taken} bytes are buffered for a peer that does not read");
    }
    assert!(taken > 0);
}

#[tokio::test]
async fn a_client_masks_and_a_server_does_not() {
    let (mut client, mut pipe) = client_and_pipe().await;
    client.write_all(b"hi").await.expect("an open stream");
    client.flush().await.expect("an open stream");
    let frame = read_available(&mut pipe);
    assert_eq!(frame[..2], [0x82, 0x82], "binary, masked, two bytes");
    let unmasked: Vec<u8> = frame[6..].iter().zip(&frame[2..6]).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(unmasked, b"hi");

    let (mut server, mut pipe) = {
        let (here, there) = duplex(1024);
        (WebSocketStream::server(here).await, there)
    };
    pipe.write_all(b"\x82\x02hi").await.expect("an open pipe");
    let error = server.read_u8().await.expect_err("an unmasked frame of a client");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[tokio::test]
async fn fragments_and_empty_frames_are_joined() {
    let (mut client, mut pipe) = client_and_pipe().await;
    pipe.write_all(b"\x82\x00\x02\x03Hel\x00\x00\x80\x02lo").await.expect("an open pipe");
    let mut received = [0; 5];
    client.read_exact(&mut received).await.expect("five bytes");
    assert_eq!(&received, b"Hello");
}

#[tokio::test]
async fn a_ping_is_answered_while_reading() {
    let (mut client, mut pipe) = client_and_pipe().await;
    // The server sends the unmasked ping "Hello" of RFC 6455, section 5.7, an unrequested pong, and one byte of data.
    // The client must return this byte and answer the ping.
    pipe.write_all(b"\x89\x05Hello\x8a\x00\x82\x01!").await.expect("an open pipe");
    assert_eq!(client.read_u8().await.expect("a byte"), b'!');
    let pong = read_available(&mut pipe);
    assert_eq!(pong[..2], [0x8a, 0x85], "a masked pong of five bytes");
    let unmasked: Vec<u8> = pong[6..].iter().zip(pong[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(unmasked, b"Hello");
}

#[tokio::test]
async fn a_protocol_violation_is_an_error_followed_by_the_end() {
    let large = u32::try_from(MESSAGE_MAX + 1).expect("small").to_be_bytes();
    let half = u32::try_from(MESSAGE_MAX / 2 + 1).expect("small").to_be_bytes();
    let fragment = |first: u8| [&[first, 127, 0, 0, 0, 0][..], &half, &vec![0; MESSAGE_MAX / 2 + 1]].concat();
    for (what, wire) in [
        ("text", b"\x81\x05Hello".to_vec()),
        ("a frame announced as too large", [&[0x82, 127, 0, 0, 0, 0][..], &large].concat()),
        ("fragments that are too large together", [fragment(0x02), fragment(0x80)].concat()),
        ("a reserved bit", b"\xc2\x01a".to_vec()),
        ("a reserved opcode", b"\x83\x01a".to_vec()),
        ("a masked frame of a server", b"\x82\x81\0\0\0\0a".to_vec()),
        ("a continuation of nothing", b"\x80\x01a".to_vec()),
        ("a fragmented ping", b"\x09\x01a".to_vec()),
        ("a ping that is too large", [&[0x89, 126, 0, 126][..], &[0; 126]].concat()),
        ("a close with half a code", b"\x88\x01a".to_vec()),
    ] {
        let (mut client, mut pipe) = client_and_pipe().await;
        pipe.write_all(&wire).await.expect("an open pipe");
        let error = client.read_u8().await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{what}: {error}");
        assert_eq!(client.read(&mut [0; 8]).await.expect("the end"), 0, "{what}");
    }
}

#[tokio::test]
async fn a_close_frame_ends_the_stream_and_is_answered() {
    for (what, close) in
        [("without a code", &b"\x88\x00"[..]), ("normal", b"\x88\x02\x03\xe8"), ("going away", b"\x88\x05\x03\xe9bye")]
    {
        let (mut client, mut pipe) = client_and_pipe().await;
        pipe.write_all(&[b"\x82\x01a", close].concat()).await.expect("an open pipe");
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.expect(what);
        assert_eq!(received, b"a", "{what}");
        assert_eq!(read_available(&mut pipe)[0], 0x88, "{what}: a close in return");
        let error = client.write_all(b"b").await.expect_err("the peer has closed");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{what}");
        client.shutdown().await.expect("nothing is left to do");
    }
}

#[tokio::test]
async fn a_close_frame_that_names_a_problem_is_an_error() {
    let (mut client, mut pipe) = client_and_pipe().await;
    pipe.write_all(b"\x88\x0a\x03\xf0too\x07much").await.expect("an open pipe");
    let error = client.read_u8().await.expect_err("a problem");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(error.to_string(), "the peer closed the WebSocket: 1008 toomuch");
    assert_eq!(client.read(&mut [0; 8]).await.expect("the end"), 0);
}

#[tokio::test]
async fn an_end_without_a_close_frame_is_an_error() {
    for wire in [&b""[..], b"\x82", b"\x82\x05Hel"] {
        let (mut client, mut pipe) = client_and_pipe().await;
        pipe.write_all(wire).await.expect("an open pipe");
        drop(pipe);
        let error = client.read_u8().await.expect_err("a broken connection");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{wire:?}: {error}");
    }
}

#[tokio::test]
async fn both_ends_close_and_earlier_bytes_still_arrive() {
    let (mut client, mut server) = both_ends(1024).await;
    client.write_all(b"last words").await.expect("an open stream");
    client.shutdown().await.expect("an open stream");
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.expect("an orderly end");
    assert_eq!(received, b"last words");
    server.shutdown().await.expect("an open stream");
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.expect("an orderly end"), 0);
}

#[tokio::test]
async fn debug_shows_no_content() {
    let (mut client, _pipe) = client_and_pipe().await;
    client.write_all(b"password").await.expect("an open stream");
    assert_eq!(format!("{client:?}"), "WebSocketStream { ended: false, .. }");
}

/// Source: RFC 6455, section 1.3.
#[test]
fn the_accept_key_matches_the_rfc() {
    assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
