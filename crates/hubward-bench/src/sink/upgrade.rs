//! Uses the first byte to distinguish MQTT from a WebSocket upgrade, and answers the upgrade.

use std::io;

use hubward_ws::{WebSocketStream, accept_key};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use crate::frame::{CONNECT, invalid};

/// Maximum number of header lines. hubward's client sends fewer.
const LINES_MAX: usize = 64;

/// The protocol that the client chose.
pub(crate) enum Opened<S> {
    /// Plain MQTT.
    Mqtt(BufReader<S>),
    /// MQTT in WebSocket frames.
    WebSocket(Box<WebSocketStream<BufReader<S>>>),
}

/// Reads the first byte. If an MQTT CONNECT cannot start with this byte, expects a WebSocket upgrade and answers it.
///
/// # Errors
/// An I/O error, or bytes that are neither MQTT nor an upgrade.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> io::Result<Opened<S>> {
    let mut stream = BufReader::with_capacity(16 * 1024, stream);
    if stream.fill_buf().await?.first() == Some(&CONNECT) {
        return Ok(Opened::Mqtt(stream));
    }
    let mut key = None;
    for _ in 0..LINES_MAX {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        if line.is_empty() {
            let key = key.ok_or_else(|| invalid("neither MQTT nor a WebSocket upgrade"))?;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
            return Ok(Opened::WebSocket(Box::new(WebSocketStream::server(stream).await)));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("sec-websocket-key")
        {
            key = Some(accept_key(value.trim().as_bytes()));
        }
    }
    Err(invalid("the upgrade has too many header lines"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// The key and the answer are from RFC 6455, section 1.3.
    #[tokio::test]
    async fn answers_an_upgrade() {
        let (mut client, server) = tokio::io::duplex(4096);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            .await
            .expect("write");
        assert!(matches!(accept(server).await.expect("an upgrade"), Opened::WebSocket(_)));
        let mut got = vec![0; 4096];
        let count = client.read(&mut got).await.expect("read");
        let text = String::from_utf8_lossy(&got[..count]).into_owned();
        assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
    }

    #[tokio::test]
    async fn mqtt_stays_mqtt() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(&[CONNECT, 0]).await.expect("write");
        let Opened::Mqtt(mut stream) = accept(server).await.expect("MQTT") else { panic!("not MQTT") };
        let mut first = [0; 2];
        stream.read_exact(&mut first).await.expect("nothing is lost");
        assert_eq!(first, [CONNECT, 0]);
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let endless = "x: y\r\n".repeat(LINES_MAX + 1);
        for sent in ["GET / HTTP/1.1\r\n\r\n", "", &endless] {
            let (mut client, server) = tokio::io::duplex(4096);
            client.write_all(sent.as_bytes()).await.expect("write");
            drop(client);
            assert!(accept(server).await.is_err(), "{sent}");
        }
    }
}
