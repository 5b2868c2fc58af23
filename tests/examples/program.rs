//! A running example, read line by line.

use std::time::Duration;

use hubward_tests::binary::example;
use hubward_tests::command::Invocation;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A program that does not say what it should hangs.
const HANG: Duration = Duration::from_secs(60);

/// Ends with the value.
pub(super) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(super) fn start(name: &str, variables: &[(&str, String)]) -> Self {
        let mut child = Invocation::of(&example(name)).vars(variables).spawn();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// The next line.
    pub(super) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(HANG, self.lines.next_line()).await.expect("it says something or ends");
        match line.expect("stdout can be read") {
            Some(line) => line,
            None => panic!("it ended: {}", self.stderr().await),
        }
    }

    /// Types Ctrl-C; gives the exit code and what else it said.
    pub(super) async fn interrupt(self) -> (Option<i32>, String) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().await.expect("there is a kill");
        assert!(sent.success(), "it runs");
        self.end().await
    }

    /// Waits for its end; gives the exit code and what else it said.
    pub(super) async fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        while let Some(line) =
            tokio::time::timeout(HANG, self.lines.next_line()).await.expect("it ends").expect("stdout can be read")
        {
            rest.push_str(&line);
            rest.push('\n');
        }
        let ended =
            tokio::time::timeout(HANG, self.child.wait()).await.expect("it ends").expect("it can be waited for");
        let stderr = self.stderr().await;
        assert_eq!(stderr, "", "nothing is wrong");
        (ended.code(), rest)
    }

    async fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut text).await.expect("stderr is text");
        }
        text
    }
}
