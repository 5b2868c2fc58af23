//! Builds an `az` command that has the same effect as a `hubward` command.
//!
//! A hub in Azure offers some operations over AMQP only, and hubward does not support AMQP. For such an operation, the
//! error message shows the `az` command to use instead.

use crate::failure::Failure;
use crate::shell::Shell;

/// A command line of `az`, to paste into a POSIX shell.
#[derive(Debug)]
pub(super) struct AzCommand(String);

impl AzCommand {
    /// Creates a command line from `az`, `command`, and the name of the hub. This name is the first part of `host`.
    pub(super) fn new(command: &str, host: &str) -> Self {
        let name = host.split('.').next().unwrap_or(host);
        Self(format!("az {command}")).option("--hub-name", Some(name))
    }

    /// Adds an option that has a value.
    pub(super) fn option(mut self, flag: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.push_str(&format!(" {flag} {}", Shell::Sh.word(value)));
        }
        self
    }

    /// Returns an error that shows this command line. Use it for an operation that the hub `host` offers over AMQP
    /// only.
    pub(super) fn instead_of(self, host: &str) -> Failure {
        Failure::unsupported(format!("{host} offers this over AMQP only, which hubward does not support"))
            .hint(format!("{}; with the emulator: --emulator", self.0))
    }
}

impl From<AzCommand> for String {
    fn from(command: AzCommand) -> Self {
        command.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_missing_ones_left_out() {
        let command = AzCommand::new("iot hub monitor-events", "a.azure-devices.net")
            .option("--device-id", Some("it's"))
            .option("--module-id", None);
        assert_eq!(command.0, r"az iot hub monitor-events --hub-name a --device-id 'it'\''s'");
    }
}
