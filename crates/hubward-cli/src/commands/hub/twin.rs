//! `hubward hub device-twin` and `module-twin`: shows and changes twins.

use clap::{Args, Subcommand};
use hubward_service::model::TwinPatch;
use hubward_service::{HubService, Target};
use serde_json::{Value, json};

use super::member_path::{assignment, set};
use super::shared::{DeviceArgs, EtagArgs, ModuleArgs, object, one};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input;
use crate::output::{Answer, Column, Output};
use crate::service_login::LoginArgs;

/// The columns of table and tsv. Their order is a documented interface: see docs/cli.md.
pub(super) const COLUMNS: &[Column] = &[
    ("Device", "/deviceId"),
    ("Module", "/moduleId"),
    ("Status", "/status"),
    ("Connection", "/connectionState"),
    ("Version", "/version"),
    ("Tags", "/tags"),
];

#[derive(Debug, Subcommand)]
pub(super) enum DeviceTwinCommand {
    /// Show a twin.
    #[command(after_help = "Example:\n  hubward hub device-twin show -d dev-1")]
    Show(DeviceArgs),
    /// Merge changes into a twin; `null` removes a member.
    #[command(after_help = "Examples:
  hubward hub device-twin update -d dev-1 --desired '{\"interval\": 30}' --tags '{\"site\": \"a\"}'
  hubward hub device-twin update -d dev-1 --desired @desired.json")]
    Update(UpdateArgs<DeviceArgs>),
    /// Replace the tags and the desired properties.
    #[command(after_help = "Example:
  hubward hub device-twin replace -d dev-1 --json '{\"tags\": {}, \"properties\": {\"desired\": {\"interval\": 30}}}'")]
    Replace(ReplaceArgs<DeviceArgs>),
}

#[derive(Debug, Subcommand)]
pub(super) enum ModuleTwinCommand {
    /// Show a twin.
    #[command(after_help = "Example:\n  hubward hub module-twin show -d dev-1 -m valve")]
    Show(ModuleArgs),
    /// Merge changes into a twin; `null` removes a member.
    #[command(after_help = "Example:\n  hubward hub module-twin update -d dev-1 -m valve --desired '{\"open\": true}'")]
    Update(UpdateArgs<ModuleArgs>),
    /// Replace the tags and the desired properties.
    #[command(after_help = "Example:\n  hubward hub module-twin replace -d dev-1 -m valve --json @twin.json")]
    Replace(ReplaceArgs<ModuleArgs>),
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs<W: Args> {
    #[command(flatten)]
    who: W,
    /// Desired properties to merge, JSON or @FILE.
    #[arg(long, value_name = "JSON", required_unless_present_any = ["tags", "set"])]
    desired: Option<String>,
    /// Tags to merge, JSON or @FILE.
    #[arg(long, value_name = "JSON")]
    tags: Option<String>,
    /// Members to merge, by their paths, such as tags.site=a.
    ///
    /// A path begins with `tags` or `properties.desired`, such as properties.desired.interval=30.
    #[arg(long, value_name = "PATH=VALUE", num_args = 1..)]
    set: Vec<String>,
    #[command(flatten)]
    etag: EtagArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReplaceArgs<W: Args> {
    #[command(flatten)]
    who: W,
    /// Twin as JSON with `tags` and `properties.desired`, or @FILE.
    ///
    /// The hub ignores other members of the twin.
    #[arg(long, short, value_name = "JSON")]
    json: String,
    #[command(flatten)]
    etag: EtagArgs,
}

pub(super) async fn run_device(
    command: &DeviceTwinCommand,
    login: &LoginArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let change = match command {
        DeviceTwinCommand::Show(_) => None,
        DeviceTwinCommand::Update(args) => Some(Change::merge(args)?),
        DeviceTwinCommand::Replace(args) => Some(Change::replace(args)?),
    };
    let (DeviceTwinCommand::Show(who)
    | DeviceTwinCommand::Update(UpdateArgs { who, .. })
    | DeviceTwinCommand::Replace(ReplaceArgs { who, .. })) = command;
    let reached = login.reach_hub().await?;
    let answer = ask(&reached.service, who.device_id.as_str().into(), change).await?;
    output.answer(&answer).await
}

pub(super) async fn run_module(
    command: &ModuleTwinCommand,
    login: &LoginArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let change = match command {
        ModuleTwinCommand::Show(_) => None,
        ModuleTwinCommand::Update(args) => Some(Change::merge(args)?),
        ModuleTwinCommand::Replace(args) => Some(Change::replace(args)?),
    };
    let (ModuleTwinCommand::Show(who)
    | ModuleTwinCommand::Update(UpdateArgs { who, .. })
    | ModuleTwinCommand::Replace(ReplaceArgs { who, .. })) = command;
    let reached = login.reach_hub().await?;
    let answer = ask(&reached.service, who.ids().into(), change).await?;
    output.answer(&answer).await
}

/// A change of a twin.
struct Change<'a> {
    body: Value,
    replaces: bool,
    etag: &'a EtagArgs,
}

impl<'a> Change<'a> {
    fn merge<W: Args>(args: &'a UpdateArgs<W>) -> Result<Self, Failure> {
        let mut body = json!({});
        if let Some(desired) = &args.desired {
            body["properties"]["desired"] = object("--desired", desired)?.into();
        }
        if let Some(tags) = &args.tags {
            body["tags"] = object("--tags", tags)?.into();
        }
        for text in &args.set {
            let (path, value) = assignment(text)?;
            if !is_writable(path) {
                return Err(Failure::usage(format!("--set {path}: only `tags` and `properties.desired` can be set"))
                    .hint("write tags.NAME=VALUE or properties.desired.NAME=VALUE"));
            }
            set(&mut body, path, value)?;
        }
        Ok(Self { body, replaces: false, etag: &args.etag })
    }

    fn replace<W: Args>(args: &'a ReplaceArgs<W>) -> Result<Self, Failure> {
        let body = input::json("--json", &args.json)?;
        let has = |pointer| body.pointer(pointer).is_some_and(Value::is_object);
        if !has("/tags") && !has("/properties/desired") {
            return Err(Failure::usage("--json has neither `tags` nor `properties.desired`")
                .hint("write '{\"tags\": {…}, \"properties\": {\"desired\": {…}}}'; the hub removes absent parts"));
        }
        Ok(Self { body, replaces: true, etag: &args.etag })
    }
}

/// Returns whether operators can change the part of a twin at this path. A hub ignores changes of the parts that are
/// not writable.
fn is_writable(path: &str) -> bool {
    let within = |part| path.strip_prefix(part).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('.'));
    within("tags") || within("properties.desired")
}

async fn ask(hub: &HubService, who: Target<'_>, change: Option<Change<'_>>) -> Result<Answer, Failure> {
    let call = match change {
        None => hub.twin(who),
        Some(Change { body, replaces: false, etag }) => etag.on(hub.update_twin(who, &TwinPatch::new()).json(&body)),
        Some(Change { body, replaces: true, etag }) => etag.on(hub.replace_twin(who, &TwinPatch::new()).json(&body)),
    };
    one(call, COLUMNS, false).await
}
