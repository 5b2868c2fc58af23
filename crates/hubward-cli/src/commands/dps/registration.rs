//! `dps enrollment registration …`, `dps enrollment-group registration …`: registration records of devices.

use clap::{Args, Subcommand};

use super::Context;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input::TopArgs;
use crate::output::{self, Answer, Column};

/// The columns of table and tsv. Their order is a documented interface: see docs/cli.md.
const COLUMNS: &[Column] = &[
    ("RegistrationId", "/registrationId"),
    ("Status", "/status"),
    ("AssignedHub", "/assignedHub"),
    ("DeviceId", "/deviceId"),
    ("Substatus", "/substatus"),
    ("ErrorCode", "/errorCode"),
    ("LastUpdated", "/lastUpdatedDateTimeUtc"),
];

#[derive(Debug, Subcommand)]
pub(super) enum OfEnrollment {
    /// Show the registration record of the device.
    #[command(after_help = "Example:\n  hubward dps enrollment registration show --enrollment-id dev-1")]
    Show(Enrolled),
    /// Delete the registration record; the identity at the hub stays.
    #[command(after_help = "Example:\n  hubward dps enrollment registration delete --enrollment-id dev-1")]
    Delete(Enrolled),
}

#[derive(Debug, Subcommand)]
pub(super) enum OfGroup {
    /// List the registration records of a group's devices.
    #[command(after_help = "Example:
  hubward dps enrollment-group registration list --enrollment-id line-7 --output table")]
    List {
        /// Name of the group.
        #[arg(long, value_name = "ID", visible_aliases = ["eid", "group-id", "gid"])]
        enrollment_id: String,
        #[command(flatten)]
        top: TopArgs,
    },
    /// Show the registration record of a group's device.
    #[command(after_help = "Example:\n  hubward dps enrollment-group registration show --registration-id dev-9")]
    Show(Registered),
    /// Delete a registration record; the identity at the hub stays.
    #[command(after_help = "Example:\n  hubward dps enrollment-group registration delete --registration-id dev-9")]
    Delete(Registered),
}

#[derive(Debug, Args)]
pub(super) struct Enrolled {
    /// Registration ID of the device.
    #[arg(long, value_name = "ID", visible_alias = "eid", aliases = ["registration-id", "rid"])]
    enrollment_id: String,
}

#[derive(Debug, Args)]
pub(super) struct Registered {
    /// Registration ID of the device.
    #[arg(long, value_name = "ID", visible_alias = "rid")]
    registration_id: String,
}

pub(super) async fn of_enrollment(command: &OfEnrollment, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match command {
        OfEnrollment::Show(args) => show(&args.enrollment_id, context).await,
        OfEnrollment::Delete(args) => delete(&args.enrollment_id, context).await,
    }
}

pub(super) async fn of_group(command: &OfGroup, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match command {
        OfGroup::List { enrollment_id, top } => {
            let top = top.limit()?;
            let pager = context.dps().await?.registrations(enrollment_id);
            let all = if let Some(top) = top { pager.limit(top) } else { pager }.verbatim().all().await?;
            context.output.answer(&Answer::of(output::list(&all), COLUMNS, false)?).await
        }
        OfGroup::Show(args) => show(&args.registration_id, context).await,
        OfGroup::Delete(args) => delete(&args.registration_id, context).await,
    }
}

async fn show(id: &str, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let record = context.dps().await?.registration(id).verbatim().await?;
    context.output.answer(&Answer::of(record.get(), COLUMNS, false)?).await
}

async fn delete(id: &str, context: &Context<'_>) -> Result<ExitCode, Failure> {
    context.dps().await?.delete_registration(id).await?;
    context.output.answer(&Answer::done(format!("deleted the registration of {id}"))).await
}
