//! `dps enrollment delete`, `dps enrollment-group delete`.

use clap::Args;

use super::Context;
use super::kind::Kind;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Answer;

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// ID of the enrollment or group.
    #[arg(long, value_name = "ID", visible_alias = "eid", aliases = ["group-id", "gid"])]
    enrollment_id: String,
    /// Delete only if the ETag still matches.
    #[arg(long, short, value_name = "ETAG")]
    etag: Option<String>,
}

pub(super) async fn delete(kind: Kind, args: &DeleteArgs, context: &Context<'_>) -> Result<ExitCode, Failure> {
    kind.delete(&context.dps().await?, &args.enrollment_id, args.etag.as_deref()).await?;
    context.output.answer(&Answer::done(format!("deleted the {} {}", kind.command(), args.enrollment_id))).await
}
