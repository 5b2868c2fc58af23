//! Runs a command against a hub that floods it, and measures the command.

use std::time::Duration;

use hubward_tests::command::Invocation;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use super::peer::{Flood, Hub};
use crate::cli::running::signal;

/// Duration of each flood.
const DURATION: Duration = Duration::from_secs(5);

/// Limit of the memory of a command, in bytes.
const MAX_MEMORY: u64 = 64 * 1024 * 1024;

/// Limit of the log of a command, in bytes.
const MAX_LOG: u64 = 1_000_000;

/// Limit of the delay between the time at which a command should end and the time at which it ends.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Maximum length of a line that a test keeps, in bytes.
const MAX_LINE: usize = 1000;

/// Minimum size of a flood in bytes. A smaller flood would test nothing.
const MIN_SENT: u64 = 1024 * 1024;

/// Maximum number of runs. A command that ends late runs again, because other programs may have used the
/// processor.
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
    /// The exit code; `None` after a signal.
    pub(super) code: Option<i32>,
    /// Delay between the time at which the command should end and the time at which it ended.
    pub(super) delay: Duration,
    /// Peak memory in bytes.
    pub(super) memory: u64,
    /// Size of the log in bytes.
    pub(super) logged: u64,
    /// The first 1,000 lines of the log, without long lines.
    pub(super) log: Vec<String>,
    /// The first 1,000 lines of the output, without long lines.
    pub(super) output: Vec<String>,
    /// Number of bytes that the hub has sent.
    pub(super) sent: u64,
}

/// Runs a command of a device against a hub that floods it. Checks the command's memory, the size of its log, and
/// that it ends successfully and in time.
pub(super) async fn withstands<F: Flood>(arguments: &[&str], end: End, flood: fn() -> F) -> Run {
    withstands_read(arguments, end, Duration::ZERO, flood).await
}

/// Like [`withstands`], with a pause before each read of at most 64 KiB of the command's output.
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
    let (logged, log) = log.await.expect("no panic");
    let (_, output) = output.await.expect("no panic");
    let memory = memory.await.expect("no panic");
    Run { code, delay, memory, logged, log, output, sent: hub.sent() }
}

async fn wait(child: &mut Child) -> Option<i32> {
    let ended = timeout(Duration::from_secs(60), child.wait()).await.expect("the command ends");
    ended.expect("an exit status").code()
}

/// Reads a pipe to its end. Returns the number of bytes, and the first 1,000 lines of at most [`MAX_LINE`] bytes.
async fn drain(mut pipe: impl AsyncRead + Unpin, pause: Duration) -> (u64, Vec<String>) {
    let (mut count, mut lines, mut line, mut buffer) = (0, Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        count += read as u64;
        for part in buffer[..read].split_inclusive(|it| *it == b'\n') {
            // A line that is too long is kept up to one byte beyond the limit.
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

/// Peak memory of a process in bytes, as Linux reports it. Reads it until the process ends.
async fn peak_memory(id: u32) -> u64 {
    let mut peak = 0;
    while let Some(now) = high_water_mark(id) {
        peak = now.max(peak);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(peak > 0, "/proc shows the memory of the process");
    peak
}

/// Peak memory of a running process in bytes. `None` once the process has ended.
fn high_water_mark(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
