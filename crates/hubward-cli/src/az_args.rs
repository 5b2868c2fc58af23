//! Options of `az` that `hubward` does not need. The program accepts most of them, because commands written for `az`
//! should work.

use clap::{ArgAction, Args};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct AzArgs {
    /// Options of `az` for the subscription and for authentication. The login of hubward replaces these options.
    #[arg(long, short = 'g', aliases = ["subscription", "auth-type"], global = true, hide = true)]
    resource_group: Vec<String>,
    /// Option of `az` that hides warnings. If it is given, `check` prints no warning.
    #[arg(long, action = ArgAction::Count, global = true, hide = true)]
    only_show_errors: u8,
    /// Options of `az` for verbosity, and for answering questions in advance. `hubward` sets its verbosity with
    /// `--log`, and does not ask these questions.
    #[arg(
        long,
        aliases = ["debug", "yes", "repair"],
        short_alias = 'y',
        action = ArgAction::Count,
        global = true,
        hide = true
    )]
    verbose: u8,
    /// Option of `az` that selects a part of the answer. `check` refuses it.
    #[arg(long, global = true, hide = true)]
    query: Option<String>,
}

impl AzArgs {
    /// Returns an error for `--query`. Prints a warning if an option for the subscription or for authentication is
    /// given.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.query.is_some() {
            return Err(Failure::usage("--query is not supported; --output json prints the service's whole answer")
                .hint("select a part with jq, such as --output json | jq -r .deviceId"));
        }
        if !self.resource_group.is_empty() && self.only_show_errors == 0 {
            tracing::warn!("--resource-group, --subscription and --auth-type are ignored: the login replaces them");
        }
        Ok(())
    }
}
