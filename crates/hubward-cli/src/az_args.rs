//! Options of `az` that mean nothing here: whoever types them out of habit is understood.

use clap::{ArgAction, Args};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct AzArgs {
    /// Which subscription an instance is in, and how to log in to it: our login says that.
    #[arg(long, short = 'g', aliases = ["subscription", "auth-type"], global = true, hide = true)]
    resource_group: Vec<String>,
    /// Warnings are not wanted: not the one below either.
    #[arg(long, action = ArgAction::Count, global = true, hide = true)]
    only_show_errors: u8,
    /// How much stands on stderr: for that there is --log. And the answer to questions that we do not ask.
    #[arg(
        long,
        aliases = ["debug", "yes", "repair"],
        short_alias = 'y',
        action = ArgAction::Count,
        global = true,
        hide = true
    )]
    verbose: u8,
    /// A part of the answer.
    #[arg(long, global = true, hide = true)]
    query: Option<String>,
}

impl AzArgs {
    /// Says what is ignored, and refuses what would change the answer.
    pub(crate) fn heed(&self) -> Result<(), Failure> {
        if self.query.is_some() {
            return Err(Failure::usage("there is no --query: --output json is the service's whole answer")
                .hint("take what you need with jq, such as --output json | jq -r .deviceId"));
        }
        if !self.resource_group.is_empty() && self.only_show_errors == 0 {
            tracing::warn!("--resource-group, --subscription and --auth-type are ignored: the login says all that");
        }
        Ok(())
    }
}
