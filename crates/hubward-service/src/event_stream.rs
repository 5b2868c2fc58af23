//! Server-sent events from an emulator's admin port.

use std::collections::VecDeque;
use std::fmt;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::error::ServiceError;
use crate::http;

/// Maximum size of one event in bytes. An event with the largest possible message is smaller, even if JSON escapes each
/// byte of the message with six bytes.
const EVENT_MAX: usize = 4 * 1024 * 1024;

/// A stream of server-sent events.
///
/// Source: HTML living standard, "Server-sent events".
pub struct EventStream {
    endpoint: String,
    body: Incoming,
    parser: Parser,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerEvent {
    /// The id of this event. If the event has no id, this is the last id that an earlier event had.
    ///
    /// To continue after this event, pass the id as `last_event_id`.
    pub id: Option<String>,
    /// The event type; `None` means `message`.
    pub event: Option<String>,
    /// The event's data.
    pub data: String,
}

impl EventStream {
    pub(crate) fn new(endpoint: String, body: Incoming) -> Self {
        Self { endpoint, body, parser: Parser::default() }
    }

    /// Waits for the next event, without a time limit. Returns `None` if the peer has ended the stream.
    ///
    /// # Errors
    /// [`ServiceError::Closed`] if the connection fails. [`ServiceError::Tls`] for an error of TLS.
    /// [`ServiceError::Protocol`] if the answer is not valid HTTP, or if an event has more than 4 MiB.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ServiceError> {
        loop {
            if let Some(event) = self.parser.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| http::of_body(&self.endpoint, &error))?;
            let Some(data) = frame.data_ref() else { continue };
            self.parser.push(data).map_err(|TooLarge| ServiceError::Protocol {
                endpoint: self.endpoint.clone(),
                problem: "an event has more than 4 MiB".to_owned(),
            })?;
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct TooLarge;

/// Splits bytes into lines and combines lines into events. The bytes may arrive in pieces of any size.
#[derive(Debug, Default)]
struct Parser {
    /// The incomplete line.
    line: Vec<u8>,
    /// Whether the previous line ended with CR. If LF is the next byte, it belongs to the end of that line.
    after_cr: bool,
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
    ready: VecDeque<ServerEvent>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        for &byte in bytes {
            match byte {
                b'\n' if std::mem::take(&mut self.after_cr) => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    self.line(&String::from_utf8_lossy(&line));
                }
                _ => {
                    self.after_cr = false;
                    if self.line.len() + self.data.as_ref().map_or(0, String::len) >= EVENT_MAX {
                        return Err(TooLarge);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let (event, data) = (self.event.take(), self.data.take());
            if let Some(data) = data {
                self.ready.push_back(ServerEvent { id: self.id.clone(), event, data });
            }
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Ignore comments, which keep the connection alive, and unknown fields.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ": hello\n\nid: 7\nevent: telemetry\ndata: {\"a\":\ndata: 1}\n\nretry: 100\r\ndata:x\r\n\r\n\
                        event: nothing\n\nid\ndata: last\n\ndata: never ended\n";

    fn expected() -> Vec<ServerEvent> {
        let event = |id: &str, event: Option<&str>, data: &str| ServerEvent {
            id: Some(id.to_owned()),
            event: event.map(str::to_owned),
            data: data.to_owned(),
        };
        vec![event("7", Some("telemetry"), "{\"a\":\n1}"), event("7", None, "x"), event("", None, "last")]
    }

    #[test]
    fn events_are_parsed_however_the_bytes_are_split() {
        for size in 1..=TEXT.len() {
            let mut parser = Parser::default();
            for chunk in TEXT.as_bytes().chunks(size) {
                parser.push(chunk).expect("small");
            }
            assert_eq!(Vec::from(parser.ready), expected(), "in pieces of {size}");
        }
    }

    #[test]
    fn the_largest_escaped_message_fits_into_an_event() {
        let body = "\\u0001".repeat(256 * 1024);
        let mut parser = Parser::default();
        parser.push(format!("data: {body}\n\n").as_bytes()).expect("a message of a device");
        assert_eq!(parser.ready[0].data, body);
    }

    #[test]
    fn an_event_above_the_limit_is_refused() {
        let mut parser = Parser::default();
        let kilobyte = vec![b'x'; 1024];
        let all = (0..5 * 1024).try_for_each(|_| parser.push(&kilobyte));
        assert!(all.is_err());
        let mut parser = Parser::default();
        let mut line = vec![b'x'; 1024];
        line[..5].copy_from_slice(b"data:");
        line[1023] = b'\n';
        assert!((0..5 * 1024).try_for_each(|_| parser.push(&line)).is_err());
    }
}
