//! Options that all commands of `az` have. The program accepts those that it does not need, because commands written
//! for `az` should work.

use clap::{ArgAction, Args};

use crate::failure::Failure;
use crate::output::Query;

#[derive(Debug, Args)]
pub(crate) struct AzArgs {
    /// Options of `az` for the subscription and for authentication. The login of hubward replaces these options.
    #[arg(long, short = 'g', aliases = ["subscription", "auth-type"], global = true, hide = true)]
    resource_group: Vec<String>,
    /// Option of `az` that hides warnings. If it is given, `query` prints no warning.
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
    /// Part of the JSON answer to print: a JMESPath expression, as in `az`.
    ///
    /// `tsv` prints a single value without quotes, and `table` uses the names in the expression as titles. See
    /// https://jmespath.org. At most 2,048 bytes.
    #[arg(long, value_name = "JMESPATH", global = true, help_heading = "Output")]
    query: Option<String>,
}

impl AzArgs {
    /// Returns the expression of `--query`, if it is given. Prints a warning if an option for the subscription or for
    /// authentication is given.
    ///
    /// # Errors
    /// If the expression is not valid.
    pub(crate) async fn query(&self) -> Result<Option<Query>, Failure> {
        if !self.resource_group.is_empty() && self.only_show_errors == 0 {
            tracing::warn!("--resource-group, --subscription and --auth-type are ignored: the login replaces them");
        }
        match &self.query {
            Some(expression) => Query::parse(expression).await.map(Some),
            None => Ok(None),
        }
    }
}
