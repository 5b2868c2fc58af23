//! Options of `az` that have no effect here. They are accepted so that commands from `az` keep working.

use clap::{ArgAction, Args};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct AzArgs {
    /// Subscription of an instance and how to log in to it; here the login contains both.
    #[arg(long, short = 'g', aliases = ["subscription", "auth-type"], global = true, hide = true)]
    resource_group: Vec<String>,
    /// Also suppresses the warning below.
    #[arg(long, action = ArgAction::Count, global = true, hide = true)]
    only_show_errors: u8,
    /// Verbosity, for which `hubward` has --log; and answers to questions that `hubward` does not ask.
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
