//! `hubward hub module-identity`: manages the modules of devices.

use clap::{Args, Subcommand};
use hubward_service::model::Module;
use hubward_service::{HubService, RawValue};
use serde_json::{Value, json};

use super::auth_args::AuthArgs;
use super::connection_string::KeyArgs;
use super::member_path::{assignment, set};
use super::renew_key::RenewArgs;
use super::shared::{DeviceArgs, EtagArgs, ModuleArgs, ShowKeys, edited, one};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input::TopArgs;
use crate::output::{self, Answer, Column, Output};
use crate::service_login::LoginArgs;

/// The columns of table and tsv. Their order is a documented interface: see docs/cli.md.
const COLUMNS: &[Column] = &[
    ("Device", "/deviceId"),
    ("Module", "/moduleId"),
    ("Connection", "/connectionState"),
    ("Authentication", "/authentication/type"),
    ("Managed by", "/managedBy"),
    ("Last activity", "/lastActivityTime"),
];

#[derive(Debug, Subcommand)]
pub(super) enum ModuleIdentityCommand {
    /// Create a module of a device; the keys are generated unless they are given.
    #[command(after_help = "Example:\n  hubward hub module-identity create -d dev-2 -m valve")]
    Create(CreateArgs),
    /// Show a module.
    #[command(after_help = "Example:\n  hubward hub module-identity show -d dev-2 -m valve")]
    Show(ShowArgs),
    /// List the modules of a device.
    #[command(after_help = "Example:\n  hubward hub module-identity list -d dev-2 --output table")]
    List(ListArgs),
    /// Change a module.
    ///
    /// The command reads the module, changes it, and writes it back. Without `--etag`, the write fails if another
    /// client has changed the module meanwhile.
    #[command(after_help = "Example:\n  hubward hub module-identity update -d dev-2 -m valve --set managedBy=me")]
    Update(Box<UpdateArgs>),
    /// Generate a new key for a module, or swap its two keys.
    #[command(after_help = "Example:\n  hubward hub module-identity renew-key -d dev-2 -m valve --kt swap")]
    RenewKey(RenewKeyArgs),
    /// Delete a module.
    #[command(after_help = "Example:\n  hubward hub module-identity delete -d dev-2 -m valve")]
    Delete(DeleteArgs),
    /// Print the connection string of a module.
    #[command(
        subcommand,
        after_help = "Example:\n  hubward hub module-identity connection-string show -d dev-2 -m valve"
    )]
    ConnectionString(ConnectionStringCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConnectionStringCommand {
    /// Print the connection string of a module.
    #[command(after_help = "Example:
  hubward hub module-identity connection-string show -d dev-2 -m valve > valve.txt")]
    Show(ConnectionStringArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    auth: AuthArgs,
    #[command(flatten)]
    keys: ShowKeys,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    keys: ShowKeys,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    auth: AuthArgs,
    /// Members to set, by their paths; a value that is not JSON is text.
    #[arg(long, value_name = "PATH=VALUE", num_args = 1..)]
    set: Vec<String>,
    #[command(flatten)]
    etag: EtagArgs,
    #[command(flatten)]
    keys: ShowKeys,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    top: TopArgs,
}

#[derive(Debug, Args)]
pub(super) struct RenewKeyArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    renew: RenewArgs,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    etag: EtagArgs,
}

#[derive(Debug, Args)]
pub(super) struct ConnectionStringArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(
    command: &ModuleIdentityCommand,
    login: &LoginArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let reached = login.reach_hub().await?;
    let hub = &reached.service;
    let answer = match command {
        ModuleIdentityCommand::Create(args) => {
            let (device, module) = args.module.ids();
            let mut body = json!({ "deviceId": device, "moduleId": module });
            args.auth.apply(&mut body)?;
            let made = hub.create_module(&Module::new(device, module)).json(&body);
            one(made, COLUMNS, args.keys.show_keys).await?
        }
        ModuleIdentityCommand::Show(args) => {
            let (device, module) = args.module.ids();
            one(hub.module(device, module), COLUMNS, args.keys.show_keys).await?
        }
        ModuleIdentityCommand::List(args) => list(args, hub).await?,
        ModuleIdentityCommand::Update(args) => update(args, hub).await?,
        ModuleIdentityCommand::RenewKey(args) => renew_key(args, hub).await?,
        ModuleIdentityCommand::Delete(args) => {
            let (device, module) = args.module.ids();
            args.etag.on(hub.delete_module(device, module)).await?;
            Answer::done(format!("deleted the module {module} of {device}"))
        }
        ModuleIdentityCommand::ConnectionString(ConnectionStringCommand::Show(args)) => {
            let (device, module) = args.module.ids();
            let module = hub.module(device, module).await?;
            let ids = format!("DeviceId={};ModuleId={}", module.device_id, module.module_id);
            args.key.connection_string(&reached.host, &ids, module.authentication.as_ref())?
        }
    };
    output.answer(&answer).await
}

/// Lists the modules of a device. The service returns all modules. With `--top`, the command keeps only the first ones.
async fn list(args: &ListArgs, hub: &HubService) -> Result<Answer, Failure> {
    let top = args.top.limit()?;
    let body: Box<RawValue> = hub.modules(&args.device.device_id).verbatim().await?;
    let Some(top) = top else { return Answer::of(body.get(), COLUMNS, false) };
    let mut modules: Vec<Box<RawValue>> = serde_json::from_str(body.get())
        .map_err(|error| Failure::usage(format!("the list of modules is not JSON: {error}")))?;
    modules.truncate(top);
    Answer::of(output::list(&modules), COLUMNS, false)
}

/// Reads the module, changes its JSON, and writes it. The write succeeds only if the ETag still matches.
async fn update(args: &UpdateArgs, hub: &HubService) -> Result<Answer, Failure> {
    let sets: Vec<(&str, Value)> = args.set.iter().map(|it| assignment(it)).collect::<Result<_, _>>()?;
    let change = |module: &mut Value| {
        args.auth.apply(module)?;
        sets.into_iter().try_for_each(|(path, value)| set(module, path, value))
    };
    changed(&args.module, &args.etag, hub, args.keys.show_keys, change).await
}

async fn renew_key(args: &RenewKeyArgs, hub: &HubService) -> Result<Answer, Failure> {
    let RenewArgs { etag, keys, .. } = &args.renew;
    changed(&args.module, etag, hub, keys.show_keys, |module| args.renew.apply(module)).await
}

async fn changed(
    of: &ModuleArgs,
    etag: &EtagArgs,
    hub: &HubService,
    show_keys: bool,
    change: impl FnOnce(&mut Value) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let (device, module) = of.ids();
    let read: Box<RawValue> = hub.module(device, module).verbatim().await?;
    let (changed, etag) = edited("the module", &read, etag, change)?;
    one(hub.create_module(&Module::new(device, module)).json(&changed).if_match(&etag), COLUMNS, show_keys).await
}
