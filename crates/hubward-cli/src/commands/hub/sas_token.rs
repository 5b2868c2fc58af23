//! `hubward hub generate-sas-token`: signs a token for a policy, a device or a module.

use std::time::Duration;

use clap::Args;
use hubward::error::ProtoError;
use hubward::sas::{ConnectionString, SasToken, UnixSeconds};
use hubward::{DeviceId, HubHost, HubIdentity, ModuleId, SharedKey};
use hubward_service::{AdminPort, HubService, Method, ServiceLogin};
use serde_json::Value;

use super::connection_string::{KeyArgs, KeyType};
use crate::commands::sas;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keys::Secret;
use crate::output::{Answer, Output};
use crate::service_login::LoginArgs;
use crate::service_reach::Reached;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward hub generate-sas-token                       # for the login's policy
  hubward hub generate-sas-token -d dev-1 --du 600     # for a device, with its key from the hub
  hubward hub generate-sas-token --emulator --pn service")]
pub(super) struct TokenArgs {
    /// Device that the token is for [default: the login's policy]
    #[arg(long, short, value_name = "ID")]
    device_id: Option<String>,
    /// Module of the device that the token is for.
    #[arg(long, short, value_name = "ID", requires = "device_id")]
    module_id: Option<String>,
    /// Policy of the emulator's hub that the token is for [default: iothubowner]
    ///
    /// A login contains one policy, and can sign only for this policy. With --device-id, this option has no effect.
    #[arg(long, visible_alias = "pn", value_name = "NAME")]
    policy_name: Option<String>,
    /// Validity of the token in seconds, starting now.
    #[arg(long, visible_alias = "du", value_name = "SECONDS", default_value_t = 3600,
          value_parser = clap::value_parser!(u64).range(1..))]
    duration: u64,
    #[command(flatten)]
    key: KeyArgs,
    /// Connection string to sign with, offline; visible to other users of this machine.
    ///
    /// The connection string belongs to a policy, a device or a module. Other users can see it in the list of
    /// processes.
    #[arg(long, visible_alias = "cs", value_name = "CONNSTR",
          conflicts_with_all = ["device_id", "policy_name", "login", "login_file", "emulator"])]
    connection_string: Option<Secret>,
}

pub(super) async fn run(args: &TokenArgs, login: &LoginArgs, output: &Output) -> Result<ExitCode, Failure> {
    let expiry = UnixSeconds::from_system_time(sas::now()).saturating_add(Duration::from_secs(args.duration));
    if let Some(text) = &args.connection_string {
        tracing::warn!(
            "--connection-string is on the command line, where other users of this machine can read it; prefer \
             --login-file or {} for a policy, hubward sas token --symmetric-key-file for a device",
            crate::environment::HUB_LOGIN
        );
        return output.answer(&Answer::value("sas", of_text(text, expiry)?.expose())).await;
    }
    if args.device_id.is_none() && args.key.key_type == KeyType::Secondary {
        return Err(Failure::usage("--key-type secondary is only for devices; a login contains one key of its policy")
            .hint("log in with the connection string that contains the policy's secondary key"));
    }
    let reached = login.reach_hub().await?;
    let token = match &args.device_id {
        Some(device) => of_identity(args, device, &reached, expiry).await?,
        None => {
            let policy = policy(args, &reached).await?;
            let (Some(key), Some(name)) = (policy.policy_key(), policy.policy_name()) else {
                return Err(Failure::usage("the login contains no key to sign with")
                    .hint("log in with the connection string of a policy, or sign for a device with --device-id"));
            };
            SasToken::sign(key, &reached.host, expiry, Some(name))
        }
    };
    output.answer(&Answer::value("sas", token.expose())).await
}

/// Signs with the key in a connection string of a policy, a device or a module.
fn of_text(text: &Secret, expiry: UnixSeconds) -> Result<SasToken, Failure> {
    let wrong = |problem: String| Failure::usage(format!("--connection-string: {problem}"));
    let all = ConnectionString::parse(text.expose()).map_err(|error| wrong(error.to_string()))?;
    let key = all.expose_shared_access_key().ok_or_else(|| wrong("it contains no SharedAccessKey".to_owned()))?;
    let key = SharedKey::from_base64(key).map_err(|error| wrong(error.to_string()))?;
    let resource = match all.device_id() {
        // Do not show the error: it could quote the key from the connection string.
        Some(device) => resource(all.host_name(), device, all.module_id())
            .map_err(|_| wrong("its HostName, DeviceId or ModuleId is not valid".to_owned()))?,
        None => all.host_name().to_owned(),
    };
    Ok(SasToken::sign(&key, &resource, expiry, all.shared_access_key_name()))
}

async fn of_identity(
    args: &TokenArgs,
    device: &str,
    reached: &Reached<HubService>,
    expiry: UnixSeconds,
) -> Result<SasToken, Failure> {
    let hub = &reached.service;
    let (authentication, who) = match &args.module_id {
        None => (hub.device(device).await?.authentication, device.to_owned()),
        Some(module) => (hub.module(device, module).await?.authentication, format!("{device}/{module}")),
    };
    let key = args.key.of(&who, authentication.as_ref())?;
    let key = SharedKey::from_base64(&key).map_err(|error| Failure::usage(format!("the key of {who}: {error}")))?;
    let resource = resource(&reached.host, device, args.module_id.as_deref())
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(SasToken::sign(&key, &resource, expiry, None))
}

/// Returns the resource that the token of a device or module is for.
fn resource(host: &str, device: &str, module: Option<&str>) -> Result<String, ProtoError> {
    let device = HubIdentity::new(HubHost::new(host)?, DeviceId::new(device)?);
    let identity = match module {
        Some(module) => device.module(ModuleId::new(module)?),
        None => device,
    };
    Ok(identity.sas_resource())
}

/// Returns the policy whose key signs the token. With an emulator, this is the policy from `--policy-name`, or
/// `iothubowner`.
///
/// With a login, this is the policy of the login. Returns an error if `--policy-name` names another policy.
async fn policy(args: &TokenArgs, reached: &Reached<HubService>) -> Result<ServiceLogin, Failure> {
    let wanted = args.policy_name.as_deref();
    if let Some(emulator) = &reached.emulator {
        return of_emulator(&emulator.admin, &reached.host, wanted.unwrap_or("iothubowner")).await;
    }
    let login = reached.login.clone().ok_or_else(|| Failure::usage("the command needs a login to sign with"))?;
    match (wanted, login.policy_name()) {
        (Some(wanted), Some(name)) if wanted != name => {
            Err(Failure::usage(format!("--policy-name {wanted}: the login belongs to the policy {name}"))
                .hint(format!("log in with the connection string of the policy {wanted}")))
        }
        _ => Ok(login),
    }
}

async fn of_emulator(admin: &AdminPort, host: &str, name: &str) -> Result<ServiceLogin, Failure> {
    let keys: Value = admin.call(Method::GET, "/api/keys").await?;
    let policies = keys["policies"].as_array().cloned().unwrap_or_default();
    let is_of_hub = |it: &&Value| it["service"] == "hub" && it["host"].as_str().is_some_and(|it| it == host);
    let policies: Vec<&Value> = policies.iter().filter(is_of_hub).collect();
    let found = policies.iter().find(|it| it["policy"] == name).and_then(|it| it["connectionString"].as_str());
    let text = found.ok_or_else(|| {
        let names: Vec<&str> = policies.iter().filter_map(|it| it["policy"].as_str()).collect();
        Failure::usage(format!("--policy-name {name}: the hub has no such policy"))
            .hint(format!("use one of: {}", names.join(", ")))
    })?;
    ServiceLogin::from_connection_string(text).map_err(|error| Failure::usage(error.to_string()))
}
