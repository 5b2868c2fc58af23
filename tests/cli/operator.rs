//! An operator who runs `hubward dps` or `hubward hub` against an emulator.

use hubward_tests::command::{Invocation, Ran};
use serde_json::Value;

/// Runs the commands of one group with the operator's variables.
pub(super) struct Operator<C> {
    /// The group of commands: `dps` or `hub`.
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

    /// The JSON output of a command that succeeds.
    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// The output of a command that succeeds.
    pub(super) async fn text(&self, arguments: &[&str]) -> String {
        successful_output(arguments, &self.run(arguments).await)
    }

    /// The last line of the JSON output. A command that fails prints its error there.
    pub(super) async fn error(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--output", "json"]].concat()).await;
        ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"))
    }
}

/// The output of a command, which must have succeeded without a warning.
pub(super) fn successful_output(arguments: &[&str], ran: &Ran) -> String {
    assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{arguments:?}: {}", ran.stdout_text());
    ran.stdout_text()
}
