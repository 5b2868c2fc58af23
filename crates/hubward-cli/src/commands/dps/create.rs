//! `dps enrollment create`, `dps enrollment-group create`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Context;
use super::kind::Kind;
use super::next;
use super::settings::{AttestationType, SettingsArgs, object};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::Answer;

#[derive(Debug, Args)]
pub(super) struct CreateEnrollment {
    /// Registration ID of the device.
    #[arg(long, value_name = "ID", visible_alias = "eid")]
    enrollment_id: String,
    /// ID of the device at its hub [default: the enrollment ID]
    #[arg(long, value_name = "ID", visible_alias = "did")]
    device_id: Option<String>,
    /// Information about the device for operators, JSON; `@FILE` reads a file.
    #[arg(long, value_name = "JSON", visible_alias = "info", alias = "device-info")]
    device_information: Option<String>,
    #[command(flatten)]
    common: CreateArgs,
}

#[derive(Debug, Args)]
pub(super) struct CreateGroup {
    /// Name of the group.
    #[arg(long, value_name = "ID", visible_aliases = ["eid", "group-id", "gid"])]
    enrollment_id: String,
    #[command(flatten)]
    common: CreateArgs,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// How devices authenticate.
    #[arg(long, value_name = "TYPE", visible_alias = "at", default_value = "symmetrickey", ignore_case = true)]
    attestation_type: AttestationType,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Show the keys in text, table and tsv; JSON always contains them.
    #[arg(long, visible_alias = "keys")]
    show_keys: bool,
}

pub(super) async fn enrollment(args: &CreateEnrollment, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let mut body = Map::new();
    body.insert(Kind::Individual.id_member().into(), json!(args.enrollment_id));
    if let Some(device_id) = &args.device_id {
        body.insert("deviceId".into(), json!(device_id));
    }
    if let Some(information) = &args.device_information {
        body.insert("optionalDeviceInformation".into(), object("--device-information", information)?);
    }
    create(Kind::Individual, &args.enrollment_id, body, &args.common, context).await
}

pub(super) async fn group(args: &CreateGroup, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let mut body = Map::new();
    body.insert(Kind::Group.id_member().into(), json!(args.enrollment_id));
    create(Kind::Group, &args.enrollment_id, body, &args.common, context).await
}

async fn create(
    kind: Kind,
    id: &str,
    mut body: Map<String, Value>,
    args: &CreateArgs,
    context: &Context<'_>,
) -> Result<ExitCode, Failure> {
    args.settings.only_keys(args.attestation_type, kind)?;
    context.one_stdin(args.settings.reads_stdin())?;
    body.insert("attestation".into(), args.settings.keys()?.attestation()?);
    args.settings.apply(&mut body)?;
    let reached = context.reach().await?;
    let made = kind.write(&reached.service, id, &body.into(), None).await?;
    let answer = Answer::of(made.get(), kind.columns_for(args.show_keys), args.show_keys)?;
    let next = next::steps(kind, id, made.get(), &reached, context.login, args.show_keys)?;
    context.output.answer(&answer.and(&next)).await
}
