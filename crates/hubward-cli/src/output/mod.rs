//! What a command tells on stdout: events, as text for people or JSON lines for programs; or the answer
//! of a service, also as rows and columns.

#[cfg(any(feature = "emulator", feature = "service"))]
#[cfg_attr(not(feature = "service"), expect(dead_code, reason = "most of it is for the answers of services"))]
mod answer;
mod happening;
#[cfg(all(test, feature = "service"))]
mod hostile;
mod json;
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
pub(crate) use self::happening::Happening;
#[cfg(any(feature = "emulator", feature = "service"))]
pub(crate) use self::table::Column;
pub(crate) use self::visible::{visible, visible_log};
use self::writer::WriteError;
pub(crate) use self::writer::Writer;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::stop;

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
    /// A server is ready. Text has words of its own.
    #[cfg(feature = "emulator")]
    Ready(&'a serde_json::Value),
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

/// Writes events to stdout and errors to stderr, whole lines at a time, without blocking a future.
///
/// The first write to stdout that fails ends the command: [`Output::until_written`] sees to it. Where
/// something must only happen after its text was shown, [`Output::written`] is asked before.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    format: Format,
    stdout: Writer,
    stderr: Writer,
    /// Whether the command is over, so that a reader who takes nothing may not delay it.
    is_over: watch::Sender<bool>,
}

impl Output {
    /// Writes to stdout in this format, and to `stderr`.
    pub(crate) fn new(format: Format, stderr: Writer) -> Self {
        let stdout = Writer::start("stdout", writer::stdout());
        Self { format, stdout, stderr, is_over: watch::Sender::new(false) }
    }

    /// Whether people or their scripts read along, not a program that wants JSON.
    pub(crate) const fn is_text(&self) -> bool {
        !matches!(self.format, Format::Json)
    }

    /// Tells one event.
    ///
    /// # Cancel safety
    /// Dropping the future before it completes tells nothing.
    pub(crate) fn tell(&self, event: &Event<'_>) -> impl Future<Output = ()> + Send + use<> {
        self.queue(self.rendered(event))
    }

    fn rendered(&self, event: &Event<'_>) -> Option<String> {
        match self.format {
            Format::Json => Some(json::render(event)),
            Format::Text | Format::Table | Format::Tsv => text::render(event).map(|it| shown(&it)),
        }
    }

    /// Tells several events in one write: a reader of the first line who then leaves has got them all.
    #[cfg(feature = "emulator")]
    pub(crate) async fn tell_together(&self, events: &[Event<'_>]) {
        let texts: Vec<String> = events.iter().filter_map(|it| self.rendered(it)).collect();
        self.queue((!texts.is_empty()).then(|| texts.join("\n"))).await;
    }

    /// Tells what happened to a device.
    pub(crate) fn happened(&self, happening: &Happening<'_>) -> impl Future<Output = ()> + Send + use<> {
        self.tell(&Event::Happening(happening))
    }

    /// Writes text for people and their scripts, without what would command their terminal.
    pub(crate) async fn line(&self, text: &str) {
        self.queue(Some(shown(text))).await;
    }

    /// Writes text for programs as it is.
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

    /// Returns when all that was told is written and flushed.
    ///
    /// # Errors
    /// If stdout could not be written. The command ends then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn written(&self) -> Result<(), Failure> {
        self.stdout.written().await.map_err(Failure::from)
    }

    /// The command is over: a reader who takes nothing delays it no longer than [`PATIENCE`] says.
    pub(crate) fn over(&self) {
        self.is_over.send_replace(true);
    }

    /// Runs a command until it ends and all it told is written, or until stdout cannot be written.
    ///
    /// # Errors
    /// The command's own failure; else that its output could not be written.
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

    /// Tells how the command ended, if it failed: as JSON on stdout, where a program waits for it, or as
    /// text on stderr. Returns the exit code.
    pub(crate) async fn end(&self, ended: Result<ExitCode, Failure>) -> ExitCode {
        let code = match ended {
            Ok(code) => code,
            // The reader closed the pipe on purpose.
            Err(failure) if failure.exit_code == ExitCode::ClosedPipe => failure.exit_code,
            Err(failure) => {
                self.tell_failure(&failure).await;
                failure.exit_code
            }
        };
        // A log that nobody reads holds up nothing.
        tokio::select! {
            biased;
            _ = self.stderr.written() => {}
            () = self.stderr.give_up_when_stalled(PATIENCE) => {}
        }
        code
    }

    async fn tell_failure(&self, failure: &Failure) {
        if failure.exit_code == ExitCode::Interrupted {
            self.over();
        }
        if !self.is_text() && self.tell_at_last(failure).await {
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

    /// Whether a program that reads stdout got the failure.
    async fn tell_at_last(&self, failure: &Failure) -> bool {
        let tell = async {
            self.tell(&Event::Error { failure }).await;
            self.stdout.written().await.is_ok()
        };
        tokio::select! {
            biased;
            is_told = tell => is_told,
            () = self.give_up(&self.stdout) => false,
        }
    }

    /// Gives up on a reader who takes nothing, once the command is over or the user wants it to be.
    async fn give_up(&self, writer: &Writer) {
        let mut is_over = self.is_over.subscribe();
        tokio::select! {
            _ = is_over.wait_for(|it| *it) => {}
            () = stop::signalled() => {}
        }
        writer.give_up_when_stalled(PATIENCE).await;
    }
}

/// After the end of a command, a reader who takes nothing is waited for this long, at most twice.
const PATIENCE: Duration = Duration::from_millis(250);

fn shown(text: &str) -> String {
    visible::visible_lines(text).into_owned()
}

/// The writer of stderr, for errors and the log.
pub(crate) fn stderr() -> Writer {
    Writer::start("stderr", writer::stderr())
}

impl Failure {
    /// Text that the standard library could not write to stdout.
    pub(crate) fn unwritten(error: std::io::Error) -> Self {
        WriteError::from(error).into()
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let (exit_code, message) = match error {
            WriteError::Closed => (ExitCode::ClosedPipe, "the reader of stdout has closed it".to_owned()),
            WriteError::Failed(why) => (ExitCode::Output, format!("stdout cannot be written: {why}")),
            WriteError::Stalled(bytes) => {
                (ExitCode::Output, format!("the reader of stdout takes nothing: {bytes} bytes were not written"))
            }
        };
        Self::new(exit_code, "output", "local".to_owned(), message)
            .hint("make room where stdout goes, and run the command again: its output is not complete")
    }
}
