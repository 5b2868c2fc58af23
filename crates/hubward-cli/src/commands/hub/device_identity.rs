//! `hubward hub device-identity`: manages the devices of a hub.

use clap::{Args, Subcommand, ValueEnum};
use hubward_service::model::Device;
use hubward_service::{HubService, RawValue};
use serde_json::{Value, json};

use super::auth_args::AuthArgs;
use super::connection_string::KeyArgs;
use super::member_path::{assignment, set};
use super::next;
use super::renew_key::RenewArgs;
use super::shared::{DeviceArgs, EtagArgs, ShowKeys, edited, one};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Answer, Column, Output};
use crate::service_login::LoginArgs;

/// The maximum number of devices that the registry returns.
const MAX_DEVICES: u16 = 1000;
/// The command that lists all devices.
const ALL: &str = "hubward hub query -q 'SELECT * FROM devices'";

/// The columns of table and tsv. Their order is a documented interface: see docs/cli.md.
pub(super) const COLUMNS: &[Column] = &[
    ("Device", "/deviceId"),
    ("Status", "/status"),
    ("Connection", "/connectionState"),
    ("Authentication", "/authentication/type"),
    ("Messages", "/cloudToDeviceMessageCount"),
    ("Last activity", "/lastActivityTime"),
];

#[derive(Debug, Subcommand)]
pub(super) enum DeviceIdentityCommand {
    /// Create a device; the keys are generated unless they are given.
    #[command(after_help = "Examples:
  hubward hub device-identity create -d dev-2 --emulator
  hubward hub device-identity create -d dev-3 --auth-method x509_thumbprint --certificate-path dev-3.pem
  hubward hub device-identity create -d dev-2 --output json | jq .authentication.symmetricKey")]
    Create(Box<CreateArgs>),
    /// Show a device.
    #[command(after_help = "Example:\n  hubward hub device-identity show -d dev-2 --show-keys")]
    Show(ShowArgs),
    /// List up to 1,000 devices; use `query` for more.
    #[command(after_help = "Example:\n  hubward hub device-identity list --output table")]
    List(ListArgs),
    /// Change a device.
    ///
    /// The command reads the device, changes it, and writes it back. Without `--etag`, the write fails if another
    /// client has changed the device meanwhile.
    #[command(after_help = "Examples:
  hubward hub device-identity update -d dev-2 --status disabled --status-reason lost
  hubward hub device-identity update -d dev-2 --set capabilities.iotEdge=true")]
    Update(Box<UpdateArgs>),
    /// Generate a new key for a device, or swap its two keys.
    #[command(after_help = "Example:\n  hubward hub device-identity renew-key -d dev-2 --kt primary --show-keys")]
    RenewKey(RenewKeyArgs),
    /// Delete a device with its modules, its twin and its queued messages.
    #[command(after_help = "Example:\n  hubward hub device-identity delete -d dev-2")]
    Delete(DeleteArgs),
    /// Print the connection string of a device.
    #[command(subcommand, after_help = "Example:\n  hubward hub device-identity connection-string show -d dev-2")]
    ConnectionString(ConnectionStringCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConnectionStringCommand {
    /// Print the connection string of a device.
    #[command(after_help = "Example:
  export IOTHUB_DEVICE_CONNECTION_STRING=\"$(hubward hub device-identity connection-string show -d dev-2)\"")]
    Show(ConnectionStringArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    keys: ShowKeys,
}

/// The settings of a device.
#[derive(Debug, Args)]
struct SettingArgs {
    /// Whether the device may connect [default: enabled]
    #[arg(long, visible_alias = "sta", value_name = "STATUS", ignore_case = true)]
    status: Option<Status>,
    /// Reason for the status (at most 128 characters).
    #[arg(long, visible_alias = "star", value_name = "TEXT")]
    status_reason: Option<String>,
    /// Whether the device is an IoT Edge device; not supported by the emulator.
    #[arg(long, visible_alias = "ee", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    edge_enabled: Option<bool>,
    #[command(flatten)]
    auth: AuthArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    /// The device may connect.
    Enabled,
    /// The device may not connect.
    Disabled,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    keys: ShowKeys,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Maximum number of results (at most 1,000); use `query` for more.
    #[arg(long, value_name = "N", default_value_t = MAX_DEVICES, allow_negative_numbers = true, value_parser = top)]
    top: u16,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    settings: SettingArgs,
    /// Members to set, by their paths; a value that is not JSON is text.
    #[arg(long, value_name = "PATH=VALUE", num_args = 1..)]
    set: Vec<String>,
    #[command(flatten)]
    etag: EtagArgs,
    #[command(flatten)]
    keys: ShowKeys,
}

#[derive(Debug, Args)]
pub(super) struct RenewKeyArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    renew: RenewArgs,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    etag: EtagArgs,
}

#[derive(Debug, Args)]
pub(super) struct ConnectionStringArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(
    command: &DeviceIdentityCommand,
    login: &LoginArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let reached = login.reach_hub().await?;
    let hub = &reached.service;
    let answer = match command {
        DeviceIdentityCommand::Create(args) => {
            let id = &args.device.device_id;
            let mut device = json!({ "deviceId": id, "status": "enabled" });
            args.settings.apply(&mut device)?;
            let made: Box<RawValue> = hub.create_device(&Device::new(id.as_str())).json(&device).verbatim().await?;
            let files = args.settings.auth.device_files();
            let next = next::steps(made.get(), &reached, login, args.keys.show_keys, files)?;
            Answer::of(made.get(), COLUMNS, args.keys.show_keys)?.and(&next)
        }
        DeviceIdentityCommand::Show(args) => {
            one(hub.device(&args.device.device_id), COLUMNS, args.keys.show_keys).await?
        }
        DeviceIdentityCommand::List(args) => list(args, hub).await?,
        DeviceIdentityCommand::Update(args) => update(args, hub).await?,
        DeviceIdentityCommand::RenewKey(args) => renew_key(args, hub).await?,
        DeviceIdentityCommand::Delete(args) => {
            let id = &args.device.device_id;
            args.etag.on(hub.delete_device(id)).await?;
            Answer::done(format!("deleted the device {id}"))
        }
        DeviceIdentityCommand::ConnectionString(ConnectionStringCommand::Show(args)) => {
            let device = hub.device(&args.device.device_id).await?;
            let ids = format!("DeviceId={}", device.device_id);
            args.key.connection_string(&reached.host, &ids, device.authentication.as_ref())?
        }
    };
    output.answer(&answer).await
}

/// Lists devices of the registry. The registry returns at most [`MAX_DEVICES`] devices, and offers no request for the
/// devices after them.
async fn list(args: &ListArgs, hub: &HubService) -> Result<Answer, Failure> {
    let body: Box<RawValue> = hub.devices(args.top.into()).verbatim().await?;
    if args.top == MAX_DEVICES {
        let devices: Vec<&RawValue> = serde_json::from_str(body.get()).unwrap_or_default();
        if devices.len() >= MAX_DEVICES.into() {
            tracing::warn!("these are the first {MAX_DEVICES} devices; there may be more: {ALL}");
        }
    }
    Answer::of(body.get(), COLUMNS, false)
}

fn top(text: &str) -> Result<u16, String> {
    let top = text.parse().ok().filter(|it| (1..=MAX_DEVICES).contains(it));
    top.ok_or_else(|| format!("the registry lists 1 to {MAX_DEVICES} devices; to list more: {ALL}"))
}

/// Reads the device, changes its JSON, and writes it. The write succeeds only if the ETag still matches.
async fn update(args: &UpdateArgs, hub: &HubService) -> Result<Answer, Failure> {
    let sets: Vec<(&str, Value)> = args.set.iter().map(|it| assignment(it)).collect::<Result<_, _>>()?;
    let change = |device: &mut Value| {
        args.settings.apply(device)?;
        sets.into_iter().try_for_each(|(path, value)| set(device, path, value))
    };
    changed(&args.device.device_id, &args.etag, hub, args.keys.show_keys, change).await
}

async fn renew_key(args: &RenewKeyArgs, hub: &HubService) -> Result<Answer, Failure> {
    let RenewArgs { etag, keys, .. } = &args.renew;
    changed(&args.device.device_id, etag, hub, keys.show_keys, |device| args.renew.apply(device)).await
}

async fn changed(
    id: &str,
    etag: &EtagArgs,
    hub: &HubService,
    show_keys: bool,
    change: impl FnOnce(&mut Value) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let read: Box<RawValue> = hub.device(id).verbatim().await?;
    let (device, etag) = edited("the device", &read, etag, change)?;
    one(hub.create_device(&Device::new(id)).json(&device).if_match(&etag), COLUMNS, show_keys).await
}

impl SettingArgs {
    fn apply(&self, device: &mut Value) -> Result<(), Failure> {
        if let Some(status) = self.status {
            let status = match status {
                Status::Enabled => "enabled",
                Status::Disabled => "disabled",
            };
            set(device, "status", json!(status))?;
        }
        if let Some(reason) = &self.status_reason {
            set(device, "statusReason", json!(reason))?;
        }
        if let Some(edge) = self.edge_enabled {
            set(device, "capabilities.iotEdge", json!(edge))?;
        }
        self.auth.apply(device)
    }
}
