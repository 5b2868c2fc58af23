//! Runs a command against a hub that sends as fast as it can, and measures the command.

use std::time::Duration;

use hubward_tests::command::Invocation;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::peer::{Flood, Hub};
use crate::cli::running::signal;

/// Duration of each flood.
const DURATION: Duration = Duration::from_secs(5);

/// Maximum memory of a command, in bytes.
const MAX_MEMORY: u64 = 64 * 1024 * 1024;

/// Maximum size of a command's log, in bytes.
const MAX_LOG: u64 = 1_000_000;

/// Maximum time between the moment at which a command should end and the moment at which it ends.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Maximum length of a line that a test keeps, in bytes.
const MAX_LINE: usize = 1000;

/// Minimum number of bytes that a hub must send. A hub that sends less does not flood the command.
const MIN_SENT: u64 = 1024 * 1024;

/// Maximum number of runs of one command. If a command ends too late, other programs may have used the processor. So
/// the test then runs the command again.
const RUNS: usize = 3;

/// What ends a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The option `--for`.
    For,
    /// Ctrl-C.
    Interrupt,
}

/// The figures of one run.
#[derive(Debug)]
pub(super) struct Run {
    /// The exit code. `None` if a signal ended the command.
    pub(super) code: Option<i32>,
    /// Time between the moment at which the command should end and the moment at which it ended.
    pub(super) delay: Duration,
    /// Peak memory in bytes.
    pub(super) memory: u64,
    /// Size of the log in bytes.
    pub(super) logged: u64,
    /// The first 1,000 lines of the log, except lines that are longer than [`MAX_LINE`].
    pub(super) log: Vec<String>,
    /// The first 1,000 lines of the output, except lines that are longer than [`MAX_LINE`].
    pub(super) output: Vec<String>,
    /// Number of bytes that the hub has sent.
    pub(super) sent: u64,
}

/// Runs a device command against a hub that floods it. Checks that the command succeeds, that it ends in time, and that
/// it uses little memory. Also checks the size of its log.
pub(super) async fn withstands<F: Flood>(arguments: &[&str], end: End, flood: fn() -> F) -> Run {
    withstands_read(arguments, end, Duration::ZERO, flood).await
}

/// Like [`withstands`], but reads the command's output slowly: it pauses after each read of at most 64 KiB.
#[expect(clippy::print_stderr, reason = "the test runner can show the figures")]
pub(super) async fn withstands_read<F: Flood>(arguments: &[&str], end: End, pause: Duration, flood: fn() -> F) -> Run {
    let mut runs = Vec::new();
    while runs.len() < RUNS {
        let run = run(arguments, end, pause, flood).await;
        eprintln!(
            "{arguments:?}: {} MiB sent, {} MiB of memory, {} bytes of log, ended {:?} late",
            run.sent >> 20,
            run.memory >> 20,
            run.logged,
            run.delay
        );
        assert!(run.sent >= MIN_SENT, "no flood: {run:?}");
        assert!(run.memory < MAX_MEMORY, "{} MiB: {run:?}", run.memory >> 20);
        assert!(run.logged < MAX_LOG, "{} bytes of log: {run:?}", run.logged);
        assert_eq!(run.code, Some(0), "{run:?}");
        if run.delay < MAX_DELAY {
            return run;
        }
        runs.push(run);
    }
    panic!("the command ended late in each run: {runs:?}");
}

async fn run<F: Flood>(arguments: &[&str], end: End, pause: Duration, flood: fn() -> F) -> Run {
    let mut hub = Hub::start(flood).await;
    let mut invocation = Invocation::hubward(["device"]).args(arguments.iter().copied()).vars(&hub.variables());
    let duration = format!("{}s", DURATION.as_secs());
    if matches!(end, End::For) {
        invocation = invocation.args(["--for", &duration]);
    }
    let mut child = invocation.spawn();
    let output = tokio::spawn(drain(child.stdout.take().expect("a pipe"), pause));
    let log = tokio::spawn(drain(child.stderr.take().expect("a pipe"), Duration::ZERO));
    hub.login().await;
    let start = Instant::now();
    let memory = tokio::spawn(peak_memory(child.id().expect("the command runs")));
    if matches!(end, End::Interrupt) {
        sleep(DURATION).await;
        signal(&child, "-INT").await;
    }
    let due = if matches!(end, End::For) { start + DURATION } else { Instant::now() };
    let code = wait(&mut child).await;
    let delay = Instant::now().saturating_duration_since(due);
    let (logged, mut log) = log.await.expect("no panic");
    // The command also prints a line about the variable `HUBWARD_CONNECT_TO`. This line is not part of the log.
    let notes: Vec<_> = log.extract_if(.., |it| it.starts_with("connecting to ")).collect();
    assert_eq!(notes.len(), 1, "one line about the address of the hub: {notes:?}");
    let logged = logged - notes.iter().map(|it| it.len() as u64 + 1).sum::<u64>();
    let (_, output) = output.await.expect("no panic");
    let memory = memory.await.expect("no panic");
    Run { code, delay, memory, logged, log, output, sent: hub.sent() }
}

async fn wait(child: &mut Child) -> Option<i32> {
    let ended = timeout(Duration::from_secs(60), child.wait()).await.expect("the command ends");
    ended.expect("an exit status").code()
}

/// Reads a pipe to its end. Returns the number of bytes and the first 1,000 lines. Leaves out lines that are longer
/// than [`MAX_LINE`].
async fn drain(mut pipe: impl AsyncRead + Unpin, pause: Duration) -> (u64, Vec<String>) {
    let (mut count, mut lines, mut line, mut buffer) = (0, Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        count += read as u64;
        for part in buffer[..read].split_inclusive(|it| *it == b'\n') {
            // Keep at most one byte more than the limit. This byte shows that the line is too long.
            line.extend_from_slice(&part[..part.len().min(MAX_LINE + 1 - line.len())]);
            if part.ends_with(b"\n") {
                if line.len() <= MAX_LINE && lines.len() < 1000 {
                    lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
                line.clear();
            }
        }
        sleep(pause).await;
    }
    (count, lines)
}

/// Returns the peak memory of a process in bytes, as Linux reports it. Reads the value again and again until the
/// process ends.
async fn peak_memory(id: u32) -> u64 {
    let mut peak = 0;
    while let Some(now) = high_water_mark(id) {
        peak = now.max(peak);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(peak > 0, "/proc shows the memory of the process");
    peak
}

/// Returns the peak memory of a running process in bytes. Returns `None` if the process has ended.
fn high_water_mark(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
