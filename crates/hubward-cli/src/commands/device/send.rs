//! `hubward device send`: sends telemetry from arguments, a file, or the lines of standard input.

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use hubward::{Message, limits};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::connection::{Connection, ConnectionArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input::{self, with_id};
use crate::output::{Event, Outcome, Output};
use crate::session::FLUSH;
use crate::stop::Stop;
use crate::tally::{FEED, Tally};

/// Maximum number of bytes to read for one line: the longest message, its line end, and one more byte.
///
/// The program cuts a longer line at this length. Because of the extra byte, the cut line is still too large for a
/// message, so the client refuses it.
const LINE_MAX: u64 = limits::TELEMETRY_MAX as u64 + 2;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward device send 21.5 --property unit=C --property room=attic
  hubward device send --json '{\"temperature\": 21.5}' --count 10 --interval 1s
  sensor | hubward device send --output json        # each line is a message

The command waits until the hub has acknowledged each message (delivery is at least once). Without
bodies and --file, each line of standard input is a message; empty lines are skipped.

Exit codes: 0 all acknowledged, 2 usage or a message that a hub would refuse, 10 some unacknowledged;
the others as for `provision`.")]
pub(crate) struct SendArgs {
    /// Bodies of the messages, one message each.
    #[arg(value_name = "BODY")]
    bodies: Vec<String>,
    /// File with the body of one message; `-` reads all of standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "bodies")]
    file: Option<PathBuf>,
    #[command(flatten)]
    properties: PropertyArgs,
    /// Number of times to send the bodies.
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// Time to wait between two messages.
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse_positive)]
    interval: Option<Duration>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The properties of each message.
#[derive(Debug, Args)]
struct PropertyArgs {
    /// Application property; may be repeated; a name without `=` has no value.
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    property: Vec<Property>,
    /// Message ID, if only one message is sent [default: a random UUID for each]
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Correlation ID: the ID of the message that these messages belong to.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Content type, such as text/plain.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Content encoding, such as utf-8.
    #[arg(long, value_name = "NAME")]
    content_encoding: Option<String>,
    /// Send the bodies as JSON; refuse a body that is not JSON.
    ///
    /// Sets the content type application/json and the content encoding utf-8, so that the hub can route the
    /// messages by fields of the body.
    #[arg(long, conflicts_with_all = ["content_type", "content_encoding"])]
    json: bool,
    /// Output of the module to send the messages to.
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,
    /// PnP component that the messages belong to.
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
}

#[derive(Debug, Clone)]
struct Property {
    name: String,
    value: Option<String>,
}

fn property(text: &str) -> Result<Property, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(format!("`{text}` has no name: write NAME=VALUE"));
    }
    Ok(Property { name: name.to_owned(), value })
}

impl PropertyArgs {
    fn message(&self, body: Vec<u8>) -> Result<Message, Failure> {
        if self.json
            && let Err(error) = serde_json::from_slice::<IgnoredAny>(&body)
        {
            return Err(Failure::usage(format!("--json: a body is not JSON: {error}")));
        }
        let mut message = Message::new(body);
        for Property { name, value } in &self.property {
            message = match value {
                Some(value) => message.property(name, value),
                None => message.flag(name),
            };
        }
        let (content_type, content_encoding) = if self.json {
            (Some("application/json"), Some("utf-8"))
        } else {
            (self.content_type.as_deref(), self.content_encoding.as_deref())
        };
        for (value, set) in [
            (self.message_id.as_deref(), Message::message_id as fn(Message, String) -> Message),
            (self.correlation_id.as_deref(), Message::correlation_id),
            (content_type, Message::content_type),
            (content_encoding, Message::content_encoding),
            (self.output_name.as_deref(), Message::output),
            (self.component.as_deref(), Message::component),
        ] {
            if let Some(value) = value {
                message = set(message, value.to_owned());
            }
        }
        input::checked(message)
    }
}

/// Where the messages come from.
enum MessageSource {
    /// Messages from arguments or a file. They are already checked against the limits of a hub.
    Given(Vec<Message>),
    /// The lines of standard input.
    Lines,
}

impl SendArgs {
    fn messages(&self, connection: &Connection) -> Result<MessageSource, Failure> {
        if self.properties.output_name.is_some() && !connection.is_module() {
            return Err(Failure::usage("--output-name is only for modules, but the identity is a device")
                .hint("use the connection string of a module (with ModuleId)"));
        }
        let mut messages = Vec::new();
        if let Some(file) = &self.file {
            messages.push(self.properties.message(input::body(file)?)?);
        } else if self.bodies.is_empty() {
            if self.count != 1 || self.properties.message_id.is_some() {
                return Err(Failure::usage("--count and --message-id do not work with the lines of standard input")
                    .hint("give the bodies as arguments, or one body with --file"));
            }
            return Ok(MessageSource::Lines);
        }
        for body in &self.bodies {
            messages.push(self.properties.message(body.clone().into_bytes())?);
        }
        if self.properties.message_id.is_some() && messages.len().saturating_mul(self.count) > 1 {
            return Err(Failure::usage("--message-id works with one message only, but there are more")
                .hint("leave out --message-id, so that each message gets an ID of its own"));
        }
        Ok(MessageSource::Given(messages))
    }

    /// Returns an error if both the key and the messages would come from standard input. Call this before the program
    /// reads standard input.
    fn check_stdin_is_free(&self) -> Result<(), Failure> {
        let wanted = self.file.as_ref().map_or(self.bodies.is_empty(), |it| it.as_os_str() == "-");
        if wanted && self.connection.reads_stdin() {
            return Err(Failure::usage("standard input holds the key, so it cannot hold messages too")
                .hint("read the key from a file, or give the bodies as arguments"));
        }
        Ok(())
    }
}

pub(super) async fn run(args: &SendArgs, output: &Output) -> Result<ExitCode, Failure> {
    args.check_stdin_is_free()?;
    let connection = args.connection.read()?;
    let source = args.messages(&connection)?;
    Stop::listen()?.or_interrupt(send(args, &connection, source, output)).await
}

async fn send(
    args: &SendArgs,
    connection: &Connection,
    source: MessageSource,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let online = connection.open(output).await?;
    let broken = Arc::new(OnceLock::new());
    let feed = match source {
        MessageSource::Given(messages) => repeated(messages, args.count),
        MessageSource::Lines => lines(&args.properties, &broken)?,
    };
    let mut tally = Tally::default();
    tally.exchange(&online.client, paced(feed, args.interval), output).await;
    let closed = online.client.close(FLUSH.min(connection.timeout())).await;
    tracing::debug!(?closed, "the hub client is closed");
    online.printed().await;
    let messages = tally.offered;
    let acknowledged = tally.into_result(messages, &online.client)?;
    if let Some(problem) = broken.get() {
        return Err(Failure::usage(format!("after {acknowledged} messages: {problem}")));
    }
    output.tell(&Event::Result { outcome: &Outcome { assignment: online.assignment, messages, acknowledged } }).await;
    Ok(ExitCode::Ok)
}

fn repeated(messages: Vec<Message>, count: usize) -> mpsc::Receiver<Message> {
    let (feed, fed) = mpsc::channel(FEED);
    tokio::spawn(async move {
        for _ in 0..count {
            for message in &messages {
                // The receiver closes the channel after a failure. The remaining messages are then not sent.
                if feed.send(with_id(message.clone())).await.is_err() {
                    return;
                }
            }
        }
    });
    fed
}

/// Starts a thread that reads messages from standard input. Reading blocks the thread. The thread ends with the
/// process.
///
/// The thread stops at a read error. With `--json`, it also stops at a line that is not JSON. In both cases, the thread
/// stores the reason in `broken`.
fn lines(properties: &PropertyArgs, broken: &Arc<OnceLock<String>>) -> Result<mpsc::Receiver<Message>, Failure> {
    let (feed, fed) = mpsc::channel(FEED);
    let template = properties.message(if properties.json { b"0".to_vec() } else { Vec::new() })?;
    let (json, broken) = (properties.json, Arc::clone(broken));
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    let _ = broken.set(format!("standard input cannot be read: {error}"));
                    return;
                }
            }
            while line.pop_if(|it| matches!(it, b'\n' | b'\r')).is_some() {}
            if line.is_empty() {
                continue;
            }
            if json && serde_json::from_slice::<IgnoredAny>(&line).is_err() {
                let _ = broken.set("--json: a line is not JSON".to_owned());
                return;
            }
            let mut message = template.clone();
            message.body = line.into();
            if feed.blocking_send(with_id(message)).is_err() {
                return;
            }
        }
    });
    Ok(fed)
}

fn paced(mut feed: mpsc::Receiver<Message>, interval: Option<Duration>) -> mpsc::Receiver<Message> {
    let Some(interval) = interval else { return feed };
    let (slow, slowly) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(message) = feed.recv().await {
            ticks.tick().await;
            if slow.send(message).await.is_err() {
                return;
            }
        }
    });
    slowly
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_has_a_name() {
        let read = |text| property(text).map(|it| (it.name, it.value));
        assert_eq!(read("a=b=c"), Ok(("a".into(), Some("b=c".into()))));
        assert_eq!(read("a="), Ok(("a".into(), Some(String::new()))));
        assert_eq!(read("a"), Ok(("a".into(), None)));
        assert!(read("=b").is_err() && read("").is_err());
    }
}
