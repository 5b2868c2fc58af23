//! A command under a flood, and what it took up.

use std::time::Duration;

use hubward_tests::command::Invocation;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::peer::{Flood, Hub};

/// How long each flood lasts.
pub(super) const LASTS: Duration = Duration::from_secs(5);

/// Memory that a command may take up.
const MEMORY: u64 = 64 * 1024 * 1024;

/// Bytes that a command may log.
const LOG: u64 = 1_000_000;

/// How much later than asked a command may end.
const LATE: Duration = Duration::from_secs(1);

/// Bytes of a line that a test looks at.
const SHORT: usize = 1000;

/// A flood that is too small tests nothing.
const LEAST: u64 = 1024 * 1024;

/// How often a command is run that ended late: another program may have had the processor.
const RUNS: usize = 3;

/// What ends a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Its `--for`.
    For,
    /// Ctrl-C.
    Interrupt,
}

/// The figures of one run.
#[derive(Debug)]
pub(super) struct Run {
    /// The exit code; `None` after a signal.
    pub(super) code: Option<i32>,
    /// How much later than asked it ended.
    pub(super) late: Duration,
    /// Most memory that it had, in bytes.
    pub(super) memory: u64,
    /// Bytes of its log.
    pub(super) logged: u64,
    /// The first short lines of its log.
    pub(super) log: Vec<String>,
    /// The first short lines of its output.
    pub(super) output: Vec<String>,
    /// Bytes that the hub has sent.
    pub(super) sent: u64,
}

/// Runs a command of a device against a hub that floods it, and checks what every flood must leave
/// alone: memory, log, and the command's end.
pub(super) async fn withstands<F: Flood>(arguments: &[&str], end: End, flood: fn() -> F) -> Run {
    withstands_read(arguments, end, Duration::ZERO, flood).await
}

/// The same, with a pause before each read of at most 64 KiB of the command's output.
#[expect(clippy::print_stderr, reason = "the figures are of use where the test runner shows its output")]
pub(super) async fn withstands_read<F: Flood>(arguments: &[&str], end: End, pause: Duration, flood: fn() -> F) -> Run {
    let mut runs = Vec::new();
    while runs.len() < RUNS {
        let run = run(arguments, end, pause, flood).await;
        eprintln!(
            "{arguments:?}: {} MiB sent, {} MiB of memory, {} bytes of log, {:?} late",
            run.sent >> 20,
            run.memory >> 20,
            run.logged,
            run.late
        );
        assert!(run.sent >= LEAST, "no flood: {run:?}");
        assert!(run.memory < MEMORY, "{} MiB: {run:?}", run.memory >> 20);
        assert!(run.logged < LOG, "{} bytes of log: {run:?}", run.logged);
        assert_eq!(run.code, Some(0), "{run:?}");
        if run.late < LATE {
            return run;
        }
        runs.push(run);
    }
    panic!("it ends late each time: {runs:?}");
}

async fn run<F: Flood>(arguments: &[&str], end: End, pause: Duration, flood: fn() -> F) -> Run {
    let mut hub = Hub::start(flood).await;
    let mut invocation = Invocation::hubward(["device"]).args(arguments.iter().copied()).vars(&hub.variables());
    let lasts = format!("{}s", LASTS.as_secs());
    if matches!(end, End::For) {
        invocation = invocation.args(["--for", &lasts]);
    }
    let mut child = invocation.spawn();
    let output = tokio::spawn(drain(child.stdout.take().expect("a pipe"), pause));
    let log = tokio::spawn(drain(child.stderr.take().expect("a pipe"), Duration::ZERO));
    hub.login().await;
    let begun = Instant::now();
    let id = child.id().expect("it runs").to_string();
    let memory = tokio::spawn(peak(id.clone()));
    if matches!(end, End::Interrupt) {
        sleep(LASTS).await;
        let sent = Command::new("kill").args(["-INT", &id]).status().await.expect("there is a kill");
        assert!(sent.success(), "it runs");
    }
    let asked = if matches!(end, End::For) { begun + LASTS } else { Instant::now() };
    let code = wait(&mut child).await;
    let late = Instant::now().saturating_duration_since(asked);
    let (logged, log) = log.await.expect("stderr is read");
    let (_, output) = output.await.expect("stdout is read");
    let memory = memory.await.expect("the peak is read");
    Run { code, late, memory, logged, log, output, sent: hub.sent() }
}

async fn wait(child: &mut Child) -> Option<i32> {
    let ended = timeout(Duration::from_secs(60), child.wait()).await.expect("it ends");
    ended.expect("it can be waited for").code()
}

/// Reads to the end; gives the number of bytes, and the first 1,000 lines that have at most [`SHORT`] bytes.
async fn drain(mut pipe: impl AsyncRead + Unpin, pause: Duration) -> (u64, Vec<String>) {
    let (mut count, mut lines, mut line, mut buffer) = (0, Vec::new(), Vec::new(), vec![0; 64 * 1024]);
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        count += read as u64;
        for part in buffer[..read].split_inclusive(|it| *it == b'\n') {
            // One byte more than fits says that the line is too long.
            line.extend_from_slice(&part[..part.len().min(SHORT + 1 - line.len())]);
            if part.ends_with(b"\n") {
                if line.len() <= SHORT && lines.len() < 1000 {
                    lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
                line.clear();
            }
        }
        sleep(pause).await;
    }
    (count, lines)
}

/// The most memory that a process has had, in bytes, as Linux counts it; looked at until it ends.
async fn peak(id: String) -> u64 {
    let mut most = 0;
    while let Some(now) = high_water_mark(&id) {
        most = now.max(most);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(most > 0, "/proc says something of a process");
    most
}

/// `None` once the process has ended.
fn high_water_mark(id: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
