//! The program under test: a device.

use std::path::Path;
use std::time::Duration;

use hubward_tests::command::Invocation;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::world::World;

/// If the device does not reach its hub, the test fails after this time.
const HANG: Duration = Duration::from_secs(60);

pub(super) struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    lines: Vec<String>,
}

impl Process {
    pub(super) fn spawn(world: &World) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_device"));
        let mut child = Invocation::of(program).vars(&world.variables()).spawn();
        let output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, output, lines: Vec::new() }
    }

    /// Waits for the next line. Returns `None` if the device prints no line within this time.
    pub(super) async fn next_line_within(&mut self, time: Duration) -> Option<&str> {
        let line = timeout(time, self.output.next_line()).await.ok()?;
        self.lines.push(line.expect("a readable pipe").expect("the device does not end"));
        self.lines.last().map(String::as_str)
    }

    /// Waits until the hub has accepted the device.
    pub(super) async fn wait_until_connected(&mut self) {
        while self.connected_to().is_none() {
            assert!(self.next_line_within(HANG).await.is_some(), "the device does not connect: {:?}", self.lines);
        }
    }

    /// Kills the device with SIGKILL, and waits for its end. Reads the rest of its output.
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.expect("the device runs until the test kills it");
        while let Ok(Some(line)) = self.output.next_line().await {
            self.lines.push(line);
        }
    }

    /// The hub that accepted the device last.
    pub(super) fn connected_to(&self) -> Option<String> {
        self.lines.iter().rev().find_map(|it| it.strip_prefix("connected ")).map(str::to_owned)
    }

    /// All lines.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}
