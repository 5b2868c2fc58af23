//! `dps enrollment-group compute-device-key`: derives the key of a device from the key of its group.

use std::path::PathBuf;

use clap::Args;
use hubward::{RegistrationId, SharedKey};

use super::Context;
use super::kind::Kind;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keys::{Secret, from_file_or_text};
use crate::output::Answer;

#[derive(Debug, Args)]
pub(super) struct DeviceKeyArgs {
    /// Registration ID of the device (case-sensitive).
    #[arg(long, value_name = "ID", visible_alias = "rid")]
    registration_id: RegistrationId,
    /// Name of the group; the command reads its key from the service.
    #[arg(long, value_name = "ID", visible_aliases = ["eid", "group-id", "gid"],
          conflicts_with_all = ["key_file", "key"])]
    enrollment_id: Option<String>,
    /// File with the group's key in base64, to work offline; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// The group's key; visible to other users of this machine: prefer a file.
    #[arg(long, value_name = "BASE64", visible_alias = "symmetric-key")]
    key: Option<Secret>,
    /// Derive from the group's secondary key.
    #[arg(long, requires = "enrollment_id")]
    secondary: bool,
}

pub(super) async fn run(args: &DeviceKeyArgs, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let text = match from_file_or_text("group key", "--key", args.key_file.as_deref(), args.key.as_ref())? {
        Some(text) => text,
        None => of_group(args, context).await?.into(),
    };
    let group = SharedKey::from_base64(&text).map_err(|error| Failure::usage(format!("the group key: {error}")))?;
    let derived = group.derive(args.registration_id.as_str()).expose_base64();
    context.output.answer(&Answer::value("symmetricKey", &derived)).await
}

async fn of_group(args: &DeviceKeyArgs, context: &Context<'_>) -> Result<String, Failure> {
    let id = args.enrollment_id.as_deref().ok_or_else(|| {
        Failure::usage("there is no group key to derive from")
            .hint("name the group with --enrollment-id and a login, or give its key: --key-file FILE")
    })?;
    let attestation = Kind::Group.attestation(&context.dps().await?, id).await?;
    let keys = attestation.symmetric_key.unwrap_or_default();
    let key = if args.secondary { keys.secondary_key } else { keys.primary_key };
    if key.is_empty() {
        return Err(Failure::usage(format!(
            "{id} has no symmetric keys, because its devices authenticate in another way"
        )));
    }
    Ok(key)
}
