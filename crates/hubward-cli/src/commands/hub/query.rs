//! `hubward hub query`.

use clap::Args;
use hubward_service::RawValue;

use super::twin;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input::TopArgs;
use crate::output::{Answer, Output, list};
use crate::service_login::LoginArgs;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward hub query -q \"SELECT * FROM devices\" --output table
  hubward hub query -q \"SELECT deviceId, tags.site AS site FROM devices WHERE status = 'enabled'\"
  hubward hub query -q \"SELECT COUNT() AS n FROM devices\" --output tsv")]
pub(super) struct QueryArgs {
    /// Query in the query language of IoT Hub.
    #[arg(long, short, value_name = "QUERY")]
    query_command: String,
    #[command(flatten)]
    top: TopArgs,
}

pub(super) async fn run(args: &QueryArgs, login: &LoginArgs, output: &Output) -> Result<ExitCode, Failure> {
    let top = args.top.limit()?;
    let reached = login.reach_hub().await?;
    let mut pager = reached.service.query(args.query_command.as_str()).verbatim();
    if let Some(top) = top {
        pager = pager.limit(top);
    }
    let (mut rows, mut are_twins): (Vec<Box<RawValue>>, _) = (Vec::new(), true);
    while let Some(page) = pager.next_page().await? {
        are_twins &= page.item_type.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("twin"));
        rows.extend(page.items);
    }
    let body = list(&rows);
    let answer = if are_twins { Answer::of(body, twin::COLUMNS, false)? } else { Answer::of_any_rows(body)? };
    output.answer(&answer).await
}
