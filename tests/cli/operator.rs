//! An operator who runs `hubward dps` or `hubward hub` against an emulator.

use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;

/// Runs the commands of one group with the operator's variables.
pub(super) struct Operator<C> {
    /// The first word of each command: `dps` or `hub`.
    pub(super) group: &'static str,
    /// The emulator. It stops when this value is dropped.
    pub(super) cloud: C,
    /// Environment variables of the commands.
    pub(super) variables: Vec<(String, String)>,
}

impl<C> Operator<C> {
    pub(super) fn command(&self, arguments: &[&str]) -> Invocation {
        Invocation::hubward([self.group]).args(arguments.iter().copied()).vars(&self.variables)
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).run().await
    }

    /// Runs a command that must succeed. Returns its output, parsed as JSON.
    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Runs a command that must succeed. Returns its output.
    pub(super) async fn text(&self, arguments: &[&str]) -> String {
        successful_output(arguments, &self.run(arguments).await)
    }

    /// Runs a command. Returns the last line of its output, parsed as JSON. If the command fails, this line is the
    /// error.
    pub(super) async fn error(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--output", "json"]].concat()).await;
        ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"))
    }
}

/// Checks that a command has succeeded and has printed no warning. Returns its output.
pub(super) fn successful_output(arguments: &[&str], ran: &Ran) -> String {
    assert_eq!((ran.code, ran.warnings().as_str()), (Some(0), ""), "{arguments:?}: {}", ran.stdout_text());
    ran.stdout_text()
}
