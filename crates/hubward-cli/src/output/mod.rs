//! The output of a command on stdout. A command prints events, or the answer of a service.
//!
//! Events are text for people, or JSON lines for programs. The answer of a service can also have rows and columns.

#[cfg(any(feature = "emulator", feature = "service"))]
#[cfg_attr(not(feature = "service"), expect(dead_code, reason = "only the commands of operators use most of it"))]
mod answer;
mod assignment;
mod device_event;
#[cfg(all(test, feature = "service"))]
mod hostile;
#[cfg(any(feature = "emulator", feature = "service"))]
mod indent;
mod json;
mod lifecycle;
#[cfg(any(feature = "emulator", feature = "service"))]
mod never;
#[cfg(feature = "service")]
mod query;
#[cfg(any(feature = "emulator", feature = "service"))]
mod record;
#[cfg(feature = "service")]
mod selection;
#[cfg(any(feature = "emulator", feature = "service"))]
mod table;
mod text;
mod visible;
mod writer;

use std::time::Duration;

use clap::ValueEnum;
use hubward::Assignment;
use tokio::sync::watch;

#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) use self::answer::Answer;
#[cfg(feature = "service")]
pub(crate) use self::answer::list;
pub(crate) use self::assignment::AssignmentFacts;
pub(crate) use self::device_event::DeviceEvent;
pub(crate) use self::lifecycle::{LifecycleEvent, LifecycleFacts, assignment, hint};
#[cfg(feature = "service")]
pub(crate) use self::query::Query;
#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) use self::table::Column;
pub(crate) use self::visible::{visible, visible_log};
use self::writer::WriteError;
pub(crate) use self::writer::Writer;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::stop;

/// How long a command waits at its end for a reader that has stopped reading. The command waits at most twice: once for
/// the reader of stdout, and once for the reader of stderr.
const STALL_TIMEOUT: Duration = Duration::from_millis(250);

/// The format of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line, or the JSON body of a service's answer.
    Json,
    /// A table; only for the answer of a service.
    Table,
    /// Values separated by tabs; only for the answer of a service.
    Tsv,
}

impl Format {
    /// Returns whether the format works for output that has no rows and columns.
    pub(crate) const fn works_without_rows(self) -> bool {
        matches!(self, Self::Text | Self::Json)
    }
}

/// One event to print.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A server is ready. This event has no text: in text mode, the command prints lines of its own.
    #[cfg(feature = "emulator")]
    Ready(&'a serde_json::Value),
    /// A step that a demo explains.
    #[cfg(feature = "emulator")]
    Step { number: usize, text: &'a str },
    /// The settings of a device, for people to paste and programs to read.
    #[cfg(feature = "emulator")]
    Device { variables: &'a [(String, String)] },
    /// The logins of operators, for people to paste and programs to read.
    #[cfg(feature = "emulator")]
    Operator { variables: &'a [(String, String)] },
    /// The registration begins.
    Provisioning { registration_id: &'a str, endpoint: &'a str, transport: &'a str },
    /// The device has a hub.
    Assigned { assignment: &'a Assignment },
    /// The device is connected to its hub; telemetry follows.
    Connected { hub: &'a str, transport: &'a str },
    /// The device sends a message.
    Sending { number: usize },
    /// The hub has acknowledged the message.
    Sent { number: usize },
    /// The status of the device in the hub's registry.
    #[cfg(feature = "emulator")]
    Registry { device_id: &'a str, hub: &'a str, status: &'a str },
    /// The result of a command that computes one value, such as a token or a key.
    Value { name: &'static str, value: &'a str },
    /// The result of a command as a JSON object. This event has no text: in text mode, the command prints lines of its
    /// own.
    #[cfg(feature = "x509")]
    Facts(&'a serde_json::Value),
    /// A certificate of a chain. This event has no text: in text mode, the command prints lines of its own.
    #[cfg(feature = "x509")]
    Certificate { position: usize, certificate: &'a serde_json::Value },
    /// A problem of a certificate, and what to do. This event has no text, too.
    #[cfg(feature = "x509")]
    Problem { message: &'a str, advice: &'a str },
    /// An event of a device.
    FromDevice(&'a DeviceEvent<'a>),
    /// The result of a `device` command: its counts.
    Finished { counts: &'a [(&'static str, u64)] },
    /// The result of a command that succeeded.
    Result { outcome: &'a Outcome },
    /// The result of a command that failed.
    Error { failure: &'a Failure },
}

/// The facts for the last line of a command that succeeded.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The assignment, if there is one.
    pub(crate) assignment: Option<AssignmentFacts>,
    /// Number of messages to send.
    pub(crate) messages: usize,
    /// Number of messages that the hub acknowledged.
    pub(crate) acknowledged: usize,
}

/// Writes events to stdout and errors to stderr. It writes whole lines, and does not block a future.
///
/// [`Output::until_written`] ends the command when a write to stdout fails. [`Output::written`] waits until all earlier
/// text is written.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: Format,
    /// Whether a person reads stdout.
    #[cfg(any(feature = "emulator", feature = "service"))]
    is_terminal: bool,
    /// The expression of `--query`.
    #[cfg(feature = "service")]
    query: Option<Query>,
    stdout: Writer,
    stderr: Writer,
    /// Whether the command has ended. After the end, `Output` waits only for a limited time for a reader that has
    /// stopped reading.
    is_over: watch::Sender<bool>,
}

impl Output {
    /// Creates an output that writes to stdout in this format, and to `stderr`.
    pub(crate) fn new(format: Format, stderr: Writer) -> Self {
        let stdout = Writer::start("stdout", writer::stdout());
        Self {
            format,
            #[cfg(any(feature = "emulator", feature = "service"))]
            is_terminal: std::io::IsTerminal::is_terminal(&std::io::stdout()),
            #[cfg(feature = "service")]
            query: None,
            stdout,
            stderr,
            is_over: watch::Sender::new(false),
        }
    }

    /// Returns an output for a command with `--query`. It prints the part of an answer that the expression selects.
    #[cfg(feature = "service")]
    pub(crate) fn with_query(&self, query: Option<Query>) -> Self {
        Self { query, ..self.clone() }
    }

    /// The writer of stderr.
    pub(crate) const fn stderr(&self) -> &Writer {
        &self.stderr
    }

    /// Whether the output is for people or scripts, not JSON.
    pub(crate) const fn is_text(&self) -> bool {
        !matches!(self.format, Format::Json)
    }

    /// Prints one event.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the event is not printed.
    pub(crate) fn tell(&self, event: &Event<'_>) -> impl Future<Output = ()> + Send + use<> {
        self.queue(self.rendered(event))
    }

    fn rendered(&self, event: &Event<'_>) -> Option<String> {
        match self.format {
            Format::Json => Some(json::render(event)),
            Format::Text | Format::Table | Format::Tsv => text::render(event).map(|it| shown(&it)),
        }
    }

    /// Prints several events in one write. If the reader closes the pipe after the first event, all events are already
    /// written, so no write fails.
    #[cfg(feature = "emulator")]
    pub(crate) async fn tell_together(&self, events: &[Event<'_>]) {
        let texts: Vec<String> = events.iter().filter_map(|it| self.rendered(it)).collect();
        self.queue((!texts.is_empty()).then(|| texts.join("\n"))).await;
    }

    /// Prints an event of a device.
    pub(crate) fn tell_device_event(&self, event: &DeviceEvent<'_>) -> impl Future<Output = ()> + Send + use<> {
        self.tell(&Event::FromDevice(event))
    }

    /// Writes text for people and scripts, without control characters.
    #[cfg(any(feature = "service", feature = "x509"))]
    pub(crate) async fn line(&self, text: &str) {
        self.queue(Some(shown(text))).await;
    }

    /// Writes text for programs. Does not change it.
    pub(crate) async fn exact(&self, text: String) {
        self.queue(Some(text)).await;
    }

    fn queue(&self, text: Option<String>) -> impl Future<Output = ()> + Send + use<> {
        let stdout = self.stdout.clone();
        async move {
            if let Some(mut text) = text {
                text.push('\n');
                stdout.queue(text.into_bytes()).await;
            }
        }
    }

    /// Waits until all earlier output is written and flushed.
    ///
    /// # Errors
    /// If stdout cannot be written. The command must then end.
    ///
    /// # Cancel safety
    /// Dropping the future loses no output.
    pub(crate) async fn written(&self) -> Result<(), Failure> {
        self.stdout.written().await.map_err(Failure::from)
    }

    /// Marks the command as ended. After that, a reader that does not read delays the exit by at most two times
    /// [`STALL_TIMEOUT`].
    pub(crate) fn over(&self) {
        self.is_over.send_replace(true);
    }

    /// Runs a command, and waits until its output is written. If a write to stdout fails, stops the command early.
    ///
    /// # Errors
    /// Returns the failure of the command. Returns the failure of stdout if a write fails while the command runs, or
    /// after the command has succeeded.
    pub(crate) async fn until_written(
        &self,
        command: impl Future<Output = Result<ExitCode, Failure>>,
    ) -> Result<ExitCode, Failure> {
        let ended = tokio::select! {
            biased;
            failure = self.stdout.failed() => return Err(failure.into()),
            ended = command => ended,
            () = self.give_up(&self.stdout) => return Err(self.stdout.failed().await.into()),
        };
        let written = tokio::select! {
            biased;
            written = self.written() => written,
            () = self.give_up(&self.stdout) => self.written().await,
        };
        ended.and_then(|code| written.map(|()| code))
    }

    /// Prints the failure of the command, if any, and waits for the log. Returns the exit code.
    ///
    /// In the JSON format, the failure goes to stdout. In other formats, or if stdout cannot be written, it goes to
    /// stderr. If the reader has closed stdout, prints no failure.
    pub(crate) async fn end(&self, ended: Result<ExitCode, Failure>) -> ExitCode {
        let code = match ended {
            Ok(code) => code,
            // The reader closed the pipe on purpose, so print no error.
            Err(failure) if failure.exit_code == ExitCode::ClosedPipe => failure.exit_code,
            Err(failure) => {
                self.tell_failure(&failure).await;
                failure.exit_code
            }
        };
        self.stderr.tell_dropped();
        // Wait for the log only while its reader reads.
        tokio::select! {
            biased;
            _ = self.stderr.written() => {}
            () = self.stderr.give_up_when_stalled(STALL_TIMEOUT) => {}
        }
        code
    }

    async fn tell_failure(&self, failure: &Failure) {
        if failure.exit_code == ExitCode::Interrupted {
            self.over();
        }
        if !self.is_text() && self.write_failure_as_json(failure).await {
            return;
        }
        let text = shown(&text::error(failure)) + "\n";
        let tell = async {
            self.stderr.queue(text.into_bytes()).await;
            self.stderr.written().await
        };
        tokio::select! {
            biased;
            _ = tell => {}
            () = self.give_up(&self.stderr) => {}
        }
    }

    /// Writes the failure to stdout as JSON. Returns `true` if the write succeeded.
    async fn write_failure_as_json(&self, failure: &Failure) -> bool {
        let write = async {
            self.tell(&Event::Error { failure }).await;
            self.stdout.written().await.is_ok()
        };
        tokio::select! {
            biased;
            is_written = write => is_written,
            () = self.give_up(&self.stdout) => false,
        }
    }

    /// Waits until the command has ended or a signal has arrived. From then on, watches the reader of `writer`. If this
    /// reader reads nothing for [`STALL_TIMEOUT`], marks the writer as failed and returns. The queued text is then
    /// lost.
    async fn give_up(&self, writer: &Writer) {
        let mut is_over = self.is_over.subscribe();
        tokio::select! {
            _ = is_over.wait_for(|it| *it) => {}
            () = stop::signalled() => {}
        }
        writer.give_up_when_stalled(STALL_TIMEOUT).await;
    }
}

fn shown(text: &str) -> String {
    visible::visible_lines(text).into_owned()
}

/// The writer of stderr, for errors and the log.
pub(crate) fn stderr() -> Writer {
    Writer::start("stderr", writer::stderr())
}

impl Failure {
    /// Converts an error of the standard library, from a write to stdout, into a failure.
    pub(crate) fn unwritten(error: std::io::Error) -> Self {
        WriteError::from(error).into()
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let (exit_code, message) = match error {
            WriteError::Closed => (ExitCode::ClosedPipe, "the reader of stdout has closed it".to_owned()),
            WriteError::Failed(why) => (ExitCode::Output, format!("stdout cannot be written: {why}")),
            WriteError::Stalled(bytes) => (
                ExitCode::Output,
                format!("the reader of stdout does not read, or too slowly: {bytes} bytes were not written"),
            ),
        };
        Self::new(exit_code, "output", "local".to_owned(), message)
            .hint("the output is incomplete: make sure that stdout can be written, then run the command again")
    }
}
