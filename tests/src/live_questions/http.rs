//! Sends HTTP/1.1 requests, each on its own connection. The caller provides every byte of the request, and gets the
//! unchanged answer.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Largest head, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// Largest body, in bytes.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// The answer to a request, or the reason why the service sent no answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    /// The status; `None` without an answer.
    pub(super) status: Option<u16>,
    /// The reason for a missing answer.
    pub(super) no_answer: &'static str,
    /// Status line and headers, unchanged.
    pub(super) head: String,
    /// The body, without its framing.
    pub(super) body: Vec<u8>,
}

impl Reply {
    const fn without_answer(no_answer: &'static str) -> Self {
        Self { status: None, no_answer, head: String::new(), body: Vec::new() }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.is_some_and(|it| (200..300).contains(&it))
    }

    /// The first header with this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON. Returns `null` if the body is not JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the error code of the service: its number, its name, or both.
    pub(super) fn code(&self) -> Option<String> {
        let body = self.json();
        let nested = ["Message", "message"].iter().find_map(|it| body[*it].as_str()).unwrap_or_default();
        let inner: Value = serde_json::from_str(nested).unwrap_or_default();
        let number = [&body["errorCode"], &inner["errorCode"]].into_iter().find(|it| !it.is_null());
        let text = nested.strip_prefix("ErrorCode:").and_then(|it| it.split(';').next());
        let name = self.header("iothub-errorcode").or(text);
        let number = number.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        let both: Vec<String> = number.into_iter().chain(name.map(str::to_owned)).collect();
        (!both.is_empty()).then(|| both.join(" "))
    }

    /// Returns the status and the error code as a short text.
    pub(super) fn summary(&self) -> String {
        match (self.status, self.code()) {
            // If the connection failed, the head contains the reason.
            (None, _) if !self.head.is_empty() => format!("no answer: {}: {}", self.no_answer, self.head),
            (None, _) => format!("no answer: {}", self.no_answer),
            (Some(status), Some(code)) if status >= 400 => format!("{status}, code {code}"),
            (Some(status), _) if status >= 400 => format!("{status}, no code"),
            (Some(status), _) => status.to_string(),
        }
    }

    /// Returns the reply if its status is a success. Otherwise returns an error text that says what failed.
    pub(super) fn expect(self, what: &str) -> Result<Self, String> {
        if self.is_success() { Ok(self) } else { Err(format!("{what} failed: {}", self.summary())) }
    }
}

/// Writes the request and reads the answer. The service may answer before it has read the whole request.
pub(super) async fn exchange<S>(stream: S, request: &[u8], limit: Duration) -> Reply
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        // Ignore a failed write. A service may refuse a large body: it then stops reading, but it still sends an
        // answer.
        if writer.write_all(request).await.is_ok() {
            let _ = writer.flush().await;
        }
        std::future::pending::<()>().await;
    };
    let both = async {
        tokio::select! {
            reply = read(&mut reader) => reply.unwrap_or_else(|| Reply::without_answer("the connection ended")),
            () = write => Reply::without_answer("the connection ended"),
        }
    };
    tokio::time::timeout(limit, both).await.unwrap_or_else(|_| Reply::without_answer("silence"))
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Reply> {
    let mut bytes = Vec::new();
    let (head, status) = loop {
        let head = read_head(stream, &mut bytes).await?;
        let status: u16 = head.split(' ').nth(1)?.get(..3)?.parse().ok()?;
        if status >= 200 {
            break (head, status);
        }
    };
    let mut reply = Reply { status: Some(status), no_answer: "", head, body: Vec::new() };
    if status == 204 || status == 304 {
        return Some(reply);
    }
    let is_chunked = reply.header("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked"));
    let length = reply.header("content-length").and_then(|it| it.parse().ok());
    let complete = |bytes: &[u8]| match length {
        _ if is_chunked => unchunked(bytes).is_some(),
        Some(length) => bytes.len() >= length,
        None => false,
    };
    while !complete(&bytes) && bytes.len() < BODY_MAX {
        // If the connection ends early, keep the part of the body that has arrived.
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    reply.body = if is_chunked { unchunked(&bytes).unwrap_or(bytes) } else { bytes };
    Some(reply)
}

/// Reads up to the empty line after the headers. Leaves all later bytes in `bytes`.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let head = std::mem::replace(bytes, rest);
            return Some(String::from_utf8_lossy(&head[..end]).into_owned());
        }
        if bytes.len() > HEAD_MAX || stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Decodes a chunked body. Returns `None` if the last chunk has not arrived.
fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = bytes.windows(2).position(|it| it == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        content.extend_from_slice(bytes.get(end + 2..(end + 2).checked_add(size)?)?);
        bytes = bytes.get(end + 4 + size..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reads(bytes: &[u8]) -> Reply {
        let (mine, mut theirs) = tokio::io::duplex(64);
        let answer = bytes.to_vec();
        let served = tokio::spawn(async move {
            let mut request = [0; 4];
            theirs.read_exact(&mut request).await.expect("a request");
            let _ = theirs.write_all(&answer).await;
        });
        let reply = exchange(mine, b"GET ", Duration::from_secs(60)).await;
        served.await.expect("a server without a panic");
        reply
    }

    #[tokio::test]
    async fn bodies_are_read_in_every_framing() {
        for (answer, body) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..], "hello"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello"),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ] {
            let reply = reads(answer).await;
            assert_eq!((reply.status, reply.text().as_str()), (Some(200), body));
        }
        assert_eq!(reads(b"HTTP/1.1 20").await.summary(), "no answer: the connection ended");
    }

    #[tokio::test]
    async fn codes_are_found_where_services_write_them() {
        for (answer, summary) in [
            (&b"HTTP/1.1 404 x\r\n\r\n{\"errorCode\":404201}"[..], "404, code 404201"),
            (b"HTTP/1.1 412 x\r\niothub-errorcode: PreconditionFailed\r\n\r\n", "412, code PreconditionFailed"),
            (b"HTTP/1.1 404 x\r\n\r\n{\"Message\":\"ErrorCode:DeviceNotFound;x\"}", "404, code DeviceNotFound"),
            (b"HTTP/1.1 404 x\r\n\r\n{\"Message\":\"{\\\"errorCode\\\":404103}\"}", "404, code 404103"),
            (b"HTTP/1.1 500 x\r\n\r\nsorry", "500, no code"),
            (b"HTTP/1.1 204 x\r\n\r\n", "204"),
        ] {
            assert_eq!(reads(answer).await.summary(), summary);
        }
    }
}
