//! Requests to the admin port of an emulator, each on its own connection.

use std::io::{Error, ErrorKind, Result};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends a GET request. Returns the whole response as text, with status line, headers and body.
pub(crate) async fn get(admin: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let response = exchange(admin, &request).await.expect("a response");
    String::from_utf8(response).expect("text")
}

/// Sends a request with a JSON body. Returns the status and the body of the response. Returns an error if the
/// connection ends before the response is complete.
///
/// `request` is the method and the path, for example `GET /health`. Each line of `headers` ends with `\r\n`.
pub(crate) async fn send(admin: &str, request: &str, headers: &str, body: Option<&Value>) -> Result<(u16, Value)> {
    let incomplete = || Error::from(ErrorKind::UnexpectedEof);
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = exchange(admin, &request).await?;
    let end = response.windows(4).position(|it| it == b"\r\n\r\n").ok_or_else(incomplete)?;
    let head = String::from_utf8_lossy(&response[..end]).to_ascii_lowercase();
    let body = &response[end + 4..];
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or_else(incomplete)?;
    let length =
        head.lines().find_map(|it| it.strip_prefix("content-length:")).map_or(0, |it| it.trim().parse().unwrap_or(0));
    if body.len() < length {
        return Err(incomplete());
    }
    if body.is_empty() {
        return Ok((status, Value::Null));
    }
    let read = serde_json::from_slice(body);
    read.map(|body| (status, body)).map_err(|_| Error::other(format!("not JSON: {}", String::from_utf8_lossy(body))))
}

/// Writes a request and reads until the emulator closes the connection.
async fn exchange(admin: &str, request: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(admin.trim_start_matches("http://")).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response)
}
