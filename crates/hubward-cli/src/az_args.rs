//! Options that every command of `az` has, such as `--resource-group`. The parser accepts all of them, so that a
//! command line written for `az` also works with `hubward`. The program ignores those that it does not need.

use clap::{ArgAction, Args};

use crate::failure::Failure;
use crate::output::Query;

#[derive(Debug, Args)]
pub(crate) struct AzArgs {
    /// Options of `az` for the subscription and for authentication. The login of hubward replaces these options.
    #[arg(long, short = 'g', aliases = ["subscription", "auth-type"], global = true, hide = true)]
    resource_group: Vec<String>,
    /// Option of `az` that hides warnings. If it is given, `AzArgs::query` prints no warning about ignored options.
    #[arg(long, action = ArgAction::Count, global = true, hide = true)]
    only_show_errors: u8,
    /// Options of `az` that set the verbosity, or that answer questions in advance, such as `--yes`. The program
    /// ignores them. Its verbosity comes from `--log`, and it does not ask the questions of `az`.
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
    /// Returns the expression of `--query`, or `None` if the option is not given.
    ///
    /// Also prints a warning if an option for the subscription or for authentication is given, because the program
    /// ignores it. With `--only-show-errors`, prints no warning.
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
