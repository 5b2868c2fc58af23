//! Options of `az` that have no effect here. The program accepts them so that commands written for `az` work.

use clap::{ArgAction, Args};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct AzArgs {
    /// Options of `az` for the subscription and for authentication. In hubward, the login replaces them.
    #[arg(long, short = 'g', aliases = ["subscription", "auth-type"], global = true, hide = true)]
    resource_group: Vec<String>,
    /// Also suppresses the warning in `check`.
    #[arg(long, action = ArgAction::Count, global = true, hide = true)]
    only_show_errors: u8,
    /// Verbosity, which `hubward` sets with --log, and answers to questions that `hubward` does not ask.
    #[arg(
        long,
        aliases = ["debug", "yes", "repair"],
        short_alias = 'y',
        action = ArgAction::Count,
        global = true,
        hide = true
    )]
    verbose: u8,
    /// Selects a part of the answer.
    #[arg(long, global = true, hide = true)]
    query: Option<String>,
}

impl AzArgs {
    /// Warns about options that are ignored, and refuses options that would change the answer.
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
