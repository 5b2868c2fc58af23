//! `hubward sas token` and `hubward sas derive-key`: sign a token and derive a key by hand.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use hubward::SharedKey;
use hubward::sas::{SasToken, UnixSeconds};

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keys::KeySource;
use crate::output::{Event, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum SasCommand {
    /// Sign a SAS token and print it.
    #[command(after_help = "Examples:
  hubward sas token --resource contoso.azure-devices.net/devices/dev-1 --symmetric-key-file dev-1.key
  hubward sas token --resource 0ne00123ABC/registrations/dev-1 --policy registration \
   --symmetric-key-stdin < dev-1.key")]
    Token(TokenArgs),
    /// Derive a device's key from the key of its enrollment group and print it.
    #[command(after_help = "Example:
  hubward sas derive-key --registration-id dev-1 --group-key-file group.key > dev-1.key")]
    DeriveKey(DeriveKeyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Resource that the token is for, not percent-encoded.
    ///
    /// {hub}/devices/{id} for a device at its hub, {scope}/registrations/{id} for a device at DPS.
    #[arg(long, value_name = "RESOURCE")]
    resource: String,
    /// Policy name: `registration` for a device at DPS, none for a device at its hub.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Validity of the token, starting now.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::duration::parse)]
    lifetime: Duration,
    #[command(flatten)]
    key: KeySource,
}

#[derive(Debug, Args)]
pub(crate) struct DeriveKeyArgs {
    /// Registration ID of the device (case-sensitive).
    #[arg(long, value_name = "ID")]
    registration_id: hubward::RegistrationId,
    /// File with the group's key in base64; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    group_key_file: PathBuf,
}

pub(crate) async fn run(command: &SasCommand, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        SasCommand::Token(args) => token(args, output).await,
        SasCommand::DeriveKey(args) => derive_key(args, output).await,
    }
}

async fn token(args: &TokenArgs, output: &Output) -> Result<ExitCode, Failure> {
    let text = args.key.read()?.or_else(KeySource::from_env).ok_or_else(|| {
        Failure::usage("there is no key to sign with").hint("use --symmetric-key-file or --symmetric-key-stdin")
    })?;
    let key = SharedKey::from_base64(&text).map_err(|error| Failure::usage(error.to_string()))?;
    let expiry = UnixSeconds::from_system_time(now()).saturating_add(args.lifetime);
    let token = SasToken::sign(&key, &args.resource, expiry, args.policy.as_deref());
    output.tell(&Event::Value { name: "token", value: token.expose() }).await;
    Ok(ExitCode::Ok)
}

async fn derive_key(args: &DeriveKeyArgs, output: &Output) -> Result<ExitCode, Failure> {
    let group = crate::keys::read_key_file(&args.group_key_file)?;
    let key = SharedKey::from_base64(&group).map_err(|error| Failure::usage(format!("the group key: {error}")))?;
    let derived = key.derive(args.registration_id.as_str()).expose_base64();
    output.tell(&Event::Value { name: "symmetricKey", value: &derived }).await;
    Ok(ExitCode::Ok)
}

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the one place of the program that reads the wall clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
