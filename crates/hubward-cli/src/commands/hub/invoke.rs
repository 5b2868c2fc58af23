//! `hubward hub invoke-device-method` and `invoke-module-method`.

use clap::Args;
use hubward_service::model::MethodRequest;
use hubward_service::{RawValue, Target};
use serde_json::Value;

use super::shared::{DeviceArgs, ModuleArgs};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input;
use crate::output::{Answer, Column, Output};
use crate::service_login::LoginArgs;

const COLUMNS: &[Column] = &[("Status", "/status"), ("Payload", "/payload")];

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward hub invoke-device-method -d dev-1 --mn reboot --mp '{\"delay\": 3}'
  hubward hub invoke-device-method -d dev-1 --mn reboot --timeout 60 --connect-timeout 0

The command succeeds if the device answers, with any status.")]
pub(super) struct DeviceMethodArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    method: MethodArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  hubward hub invoke-module-method -d dev-1 -m valve --mn open")]
pub(super) struct ModuleMethodArgs {
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    method: MethodArgs,
}

#[derive(Debug, Args)]
struct MethodArgs {
    /// Name of the method.
    #[arg(long, visible_alias = "mn", value_name = "NAME")]
    method_name: String,
    /// Payload of the call, JSON or @FILE.
    #[arg(long, visible_alias = "mp", value_name = "JSON", default_value = "{}")]
    method_payload: String,
    /// Seconds to wait for the answer of the device (5 to 300).
    #[arg(long, visible_alias = "to", value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(5..=300))]
    timeout: u64,
    /// Seconds to wait until the device connects; at most --timeout [default: --timeout]
    #[arg(long, visible_alias = "cto", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=300))]
    connect_timeout: Option<u64>,
}

pub(super) async fn run_device(
    args: &DeviceMethodArgs,
    login: &LoginArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    run(args.device.device_id.as_str().into(), &args.method, login, output).await
}

pub(super) async fn run_module(
    args: &ModuleMethodArgs,
    login: &LoginArgs,
    output: &Output,
) -> Result<ExitCode, Failure> {
    run(args.module.ids().into(), &args.method, login, output).await
}

async fn run(who: Target<'_>, args: &MethodArgs, login: &LoginArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut call = MethodRequest::new(args.method_name.as_str());
    call.payload = Some(input::json("--method-payload", &args.method_payload)?);
    call.response_timeout_in_seconds = Some(args.timeout);
    call.connect_timeout_in_seconds = Some(args.connect_timeout.unwrap_or(args.timeout));
    let reached = login.reach_hub().await?;
    let body: Box<RawValue> = reached.service.invoke(who, &call).verbatim().await?;
    let result: Value = serde_json::from_str(body.get()).unwrap_or_default();
    let text = format!("{} {}", result["status"], result["payload"]);
    output.answer(&Answer::of(body.get(), COLUMNS, true)?.text(text)).await
}
