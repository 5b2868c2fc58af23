//! The server of the sink: creates a temporary certificate, listens, and runs one task per connection.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Style;
use super::upgrade::{self, Opened};
use crate::frame::{self, invalid};

/// The host name in the sink's certificate.
pub(crate) const HOST: &str = "localhost";

/// Listens on a free port of loopback, and serves until the caller drops the future. As soon as the socket listens, the
/// server calls `ready` with the port and the certificate (PEM).
///
/// # Errors
/// The socket or the certificate cannot be created. An error of one connection ends only that connection: the server
/// prints the error to standard error and continues.
pub(crate) async fn serve(style: Style, ready: impl FnOnce(u16, &str) -> io::Result<()>) -> io::Result<()> {
    let identity = rcgen::generate_simple_self_signed([HOST.to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|it| it.with_no_client_auth().with_single_cert(vec![identity.cert.der().clone()], key))
        .map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    ready(listener.local_addr()?.port(), &identity.cert.pem())?;
    loop {
        let (socket, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(error) = connection(socket, acceptor, style).await {
                crate::report_line(&format!("sink: {error}"));
            }
        });
    }
}

async fn connection(socket: TcpStream, acceptor: TlsAcceptor, style: Style) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let stream = acceptor.accept(socket).await?;
    match upgrade::accept(stream).await? {
        Opened::Mqtt(stream) => answer(stream, style).await,
        Opened::WebSocket(stream) => answer(stream, style).await,
    }
}

/// Acknowledges messages until the peer sends DISCONNECT or closes the connection. Returns an error for a packet that
/// does not occur in a telemetry run.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, style: Style) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(64 * 1024);
    let mut acks = Vec::with_capacity(4 * 1024);
    loop {
        input.reserve(16 * 1024);
        match stream.read_buf(&mut input).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // rustls returns this error if the peer closes without `close_notify`. The run has ended, so this is not an
            // error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        while let Some(packet) = frame::first(&input)? {
            match (packet.header, packet.body) {
                (frame::PUBLISH_QOS1, body) => {
                    let id = frame::publish_id(body).ok_or_else(|| invalid("a PUBLISH without a packet id"))?;
                    acks.extend(frame::puback(id));
                }
                (frame::CONNECT, _) => acks.extend([frame::CONNACK, 2, 0, 0]),
                (frame::SUBSCRIBE, [high, low, filters @ ..]) => {
                    let granted = count_filters(filters).ok_or_else(|| invalid("a SUBSCRIBE that ends early"))?;
                    acks.extend([frame::SUBACK, 2 + granted, *high, *low]);
                    acks.extend(std::iter::repeat_n(1, granted.into()));
                }
                (frame::PINGREQ, _) => acks.extend([frame::PINGRESP, 0]),
                (frame::DISCONNECT, _) => return flush(&mut stream, &mut acks).await,
                _ => return Err(invalid("a packet that no telemetry run sends")),
            }
            let len = packet.len;
            input.advance(len);
            if style == Style::BrokerLike {
                flush(&mut stream, &mut acks).await?;
            }
        }
        flush(&mut stream, &mut acks).await?;
    }
}

async fn flush(stream: &mut (impl AsyncWrite + Unpin), acks: &mut Vec<u8>) -> io::Result<()> {
    if !acks.is_empty() {
        stream.write_all(acks).await?;
        stream.flush().await?;
        acks.clear();
    }
    Ok(())
}

/// Returns the number of topic filters in a SUBSCRIBE. Each filter is a text, followed by a QoS byte.
fn count_filters(mut rest: &[u8]) -> Option<u8> {
    let mut count = 0u8;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_be_bytes(*length)) + 1..)?;
        count = count.checked_add(1)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sinks of both styles send the same answers in the same order. They differ only in the number of writes,
    /// which this test does not check.
    #[tokio::test]
    async fn acknowledges_in_order() {
        for style in Style::ALL {
            let (mut client, server) = tokio::io::duplex(4096);
            let sink = tokio::spawn(answer(server, style));
            let mut sent = frame::connect("d", "u", "p");
            sent.extend(b"\x82\x0c\0\x01\0\x01a\x01\0\x03b/#\x01");
            let publish = frame::PublishTemplate::new("t", b"body");
            publish.push(&mut sent, 2);
            publish.push(&mut sent, 3);
            sent.extend([frame::PINGREQ, 0, frame::DISCONNECT, 0]);
            client.write_all(&sent).await.expect("write");
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.expect("read");
            assert_eq!(
                got,
                b"\x20\x02\0\0\x90\x04\0\x01\x01\x01\x40\x02\0\x02\x40\x02\0\x03\xd0\0",
                "{}",
                style.name()
            );
            sink.await.expect("no panic").expect("an orderly end");
        }
    }

    #[tokio::test]
    async fn refuses_packets_that_no_run_sends() {
        for sent in [&b"\x30\x03\0\x01t"[..], b"\x32\x05\0\x01t\0\0", b"\x82\x04\0\x01\0\x05"] {
            let (mut client, server) = tokio::io::duplex(4096);
            client.write_all(sent).await.expect("write");
            drop(client);
            let error = answer(server, Style::Bulk).await.expect_err("not telemetry");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{sent:x?}");
        }
    }
}
