//! What a command tells on stdout: events, as text for people or JSON lines for programs; or the answer
//! of a service, also as rows and columns.

#[cfg(any(feature = "emulator", feature = "service"))]
#[cfg_attr(not(feature = "service"), expect(dead_code, reason = "most of it is for the answers of services"))]
mod answer;
mod happening;
mod json;
#[cfg(any(feature = "emulator", feature = "service"))]
mod table;
mod text;

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use clap::ValueEnum;
use hubward::Assignment;

#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) use self::answer::Answer;
#[cfg(feature = "service")]
pub(crate) use self::answer::list;
pub(crate) use self::happening::Happening;
#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) use self::table::Column;
#[cfg(feature = "service")]
pub(crate) use self::text::visible;
use crate::failure::Failure;

/// How to tell it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs; of a service's answer its own body.
    Json,
    /// Columns; for the answer of a service.
    Table,
    /// Values with tabs between them, for scripts; for the answer of a service.
    Tsv,
}

impl Format {
    /// Whether it fits a command that tells a story: one without rows and columns.
    pub(crate) const fn tells_stories(self) -> bool {
        matches!(self, Self::Text | Self::Json)
    }
}

/// One thing worth telling.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The settings of a device, to be pasted or read.
    #[cfg(feature = "emulator")]
    Device { variables: &'a [(String, String)] },
    /// The logins of those who look after devices, to be pasted or read.
    #[cfg(feature = "emulator")]
    Operator { variables: &'a [(String, String)] },
    /// The registration begins.
    Provisioning { registration_id: &'a str, endpoint: &'a str, transport: &'a str },
    /// The device has a hub.
    Assigned { assignment: &'a Assignment },
    /// The device is connected to its hub, telemetry follows.
    Connected { hub: &'a str, transport: &'a str },
    /// A message goes out.
    Sending { number: usize },
    /// A message was acknowledged.
    Sent { number: usize },
    /// What the hub's registry says of the device.
    #[cfg(feature = "emulator")]
    Registry { device_id: &'a str, hub: &'a str, status: &'a str },
    /// Something went well that is the answer itself: a token, a key.
    Value { name: &'static str, value: &'a str },
    /// The same with facts of any shape, an object; text has words of its own.
    #[cfg(feature = "emulator")]
    Facts(&'a serde_json::Value),
    /// Something happened to a device.
    Happening(&'a Happening<'a>),
    /// The end of a device's command, with what it counted.
    Finished { counts: &'a [(&'static str, u64)] },
    /// The end of a command that did what it was asked.
    Result { outcome: &'a Outcome },
    /// The end of one that did not.
    Error { failure: &'a Failure },
}

/// What a command achieved, for its last line.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The assignment, if there is one.
    pub(crate) assignment: Option<Assignment>,
    /// Messages that were to be sent.
    pub(crate) messages: usize,
    /// Messages the hub acknowledged.
    pub(crate) acknowledged: usize,
}

/// Writes events to stdout, whole lines at a time.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: Format,
    /// Set when nobody reads stdout any more: a closed pipe ends the talking, not the work.
    closed: Arc<Mutex<bool>>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, closed: Arc::default() }
    }

    /// Whether people or their scripts read along, not a program that wants JSON.
    pub(crate) const fn is_text(&self) -> bool {
        !matches!(self.format, Format::Json)
    }

    /// Tells one event.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        let text = match self.format {
            Format::Json => Some(json::render(event)),
            Format::Text | Format::Table | Format::Tsv => text::render(event),
        };
        if let Some(text) = text {
            self.line(&text);
        }
    }

    /// Tells what happened to a device.
    pub(crate) fn happened(&self, happening: &Happening<'_>) {
        self.tell(&Event::Happening(happening));
    }

    /// Tells that a server is ready: with JSON the first line of stdout.
    #[cfg(feature = "emulator")]
    pub(crate) fn ready(&self, content: &serde_json::Value) {
        if !self.is_text() {
            self.line(&json::ready(content));
        }
    }

    /// Writes text that is the same in both formats.
    pub(crate) fn line(&self, text: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !*closed {
            let mut stdout = io::stdout().lock();
            *closed = writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err();
        }
    }

    /// Tells a failure: JSON on stdout, where a program waits for it; text on stderr.
    pub(crate) fn fail(&self, failure: &Failure) {
        match self.format {
            Format::Json => self.tell(&Event::Error { failure }),
            Format::Text | Format::Table | Format::Tsv => {
                let _ = writeln!(io::stderr().lock(), "{}", text::error(failure));
            }
        }
    }
}
