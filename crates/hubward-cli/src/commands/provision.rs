//! `hubward provision`: find the device's hub, and send it some telemetry if asked to.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hubward::{ConnectTo, IdScope, Message, RegistrationId, Settings, SharedKey, TransportKind, vars};
use zeroize::Zeroizing;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keys::{KeySource, read_key_file};
use crate::output::Output;
use crate::session::{self, Telemetry};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward provision                                   # everything from PROVISIONING_* variables
  hubward provision --transport mqtt-ws --messages 10 # over port 443, then ten messages
  hubward provision --dps-host global.azure-devices-provisioning.net --id-scope 0ne00123ABC \\
      --registration-id dev-1 --group-key-file group.key --output json

Exit codes: 0 ok, 2 usage, 3 network, 4 TLS trust, 5 credential, 6 refused, 7 throttled, 8 deadline,
9 protocol, 10 some messages unacknowledged, 11 unsupported, 130 Ctrl-C.")]
pub(crate) struct ProvisionArgs {
    /// How to talk to DPS: https, mqtt or mqtt-ws [env: HUBWARD_TRANSPORT] [default: mqtt]
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportKind>,
    /// How to talk to the hub: mqtt or mqtt-ws [default: as to DPS; mqtt with https]
    #[arg(long, value_name = "TRANSPORT")]
    hub_transport: Option<TransportKind>,
    /// Host name of DPS, such as global.azure-devices-provisioning.net [env: PROVISIONING_HOST]
    #[arg(long, value_name = "HOST")]
    dps_host: Option<String>,
    /// The id scope of the DPS instance, such as 0ne00123ABC [env: PROVISIONING_IDSCOPE]
    #[arg(long, value_name = "SCOPE")]
    id_scope: Option<IdScope>,
    /// The id to register under [env: PROVISIONING_REGISTRATION_ID]
    #[arg(long, value_name = "ID")]
    registration_id: Option<RegistrationId>,
    #[command(flatten)]
    key: KeySource,
    /// A file with the key of the device's enrollment group, base64: the device's key is derived
    /// from it; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["symmetric_key_file", "symmetric_key_stdin", "symmetric_key"])]
    group_key_file: Option<PathBuf>,
    /// A PEM file of the authorities to trust instead of the system's [env: HUBWARD_CA_FILE]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Dial ADDR:PORT for HOST:PORT; names in certificates and tokens stay (curl's rule). May be
    /// repeated. [env: HUBWARD_CONNECT_TO, separated by commas]
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT")]
    connect_to: Vec<ConnectTo>,
    /// JSON that the enrollment's custom allocation is to see; `@FILE` reads a file.
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// The end of all patience: registration, connection and messages together.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::duration::parse_positive)]
    timeout: Duration,
    /// Telemetry messages to send to the hub afterwards.
    #[arg(long, value_name = "N", default_value_t = 0)]
    messages: usize,
    /// A file with the body of each message instead of a wind speed.
    #[arg(long, value_name = "FILE", requires = "messages")]
    body_file: Option<PathBuf>,
}

/// What is to be done, everything it needs already read.
#[derive(Debug)]
pub(crate) struct Prepared {
    settings: Settings,
    telemetry: Telemetry,
}

/// Reads what the arguments name: files, variables, a key that somebody types. That blocks, so it has
/// to be over before the runtime listens for Ctrl-C: nobody would be there to hear it.
pub(crate) fn prepare(args: &ProvisionArgs) -> Result<Prepared, Failure> {
    let settings = settings(args)?;
    let body = args.body_file.as_ref().map(|file| {
        std::fs::read(file)
            .map_err(|error| Failure::usage(format!("the body file {} cannot be read: {error}", file.display())))
    });
    if args.messages > 0 || args.hub_transport.is_some() {
        // What cannot work later is refused before anything is registered.
        hubward::check_hub_transport(settings.effective_hub_transport())?;
    }
    let body = body.transpose()?.map(Message::new);
    Ok(Prepared { settings, telemetry: Telemetry { messages: args.messages, body } })
}

impl Prepared {
    pub(crate) async fn run(&self, output: &Output) -> Result<ExitCode, Failure> {
        session::run(&self.settings, &self.telemetry, output).await.map(|_| ExitCode::Ok)
    }
}

/// Flags win over variables; what both lack is named at once.
fn settings(args: &ProvisionArgs) -> Result<Settings, Failure> {
    let key = key(args)?;
    let flag = |name: &str| match name {
        vars::HOST => args.dps_host.clone(),
        vars::ID_SCOPE => args.id_scope.as_ref().map(ToString::to_string),
        vars::REGISTRATION_ID => args.registration_id.as_ref().map(ToString::to_string),
        vars::SYMMETRIC_KEY => key.as_ref().map(|it| it.to_string()),
        vars::TRANSPORT => args.transport.map(|it| it.to_string()),
        vars::CA_FILE => args.ca_file.as_ref().map(|it| it.display().to_string()),
        _ => None,
    };
    let mut settings = Settings::from_vars(|name| flag(name).or_else(|| std::env::var(name).ok()))?;
    settings.timeout = args.timeout;
    settings.hub_transport = args.hub_transport;
    settings.ca_file = args.ca_file.clone().or(settings.ca_file);
    // The first rule that matches wins: those of the command line stand before the environment's.
    settings.connect_to.splice(0..0, args.connect_to.iter().cloned());
    settings.payload = args.payload.as_deref().map(payload).transpose()?;
    settings.user_agent = concat!("hubward-cli/", env!("CARGO_PKG_VERSION")).to_owned();
    Ok(settings)
}

/// The device's key from a flag: its own, or derived from its group's.
fn key(args: &ProvisionArgs) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(file) = &args.group_key_file else { return args.key.read() };
    let group = SharedKey::from_base64(&read_key_file(file)?)
        .map_err(|error| Failure::usage(format!("the group key: {error}")))?;
    let id =
        args.registration_id.as_ref().map(ToString::to_string).or_else(|| std::env::var(vars::REGISTRATION_ID).ok());
    // Without an id the settings will name it, and only it: a key was given.
    Ok(Some(group.derive(id.unwrap_or_default().trim()).expose_base64()))
}

fn payload(text: &str) -> Result<serde_json::Value, Failure> {
    let text = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("the payload file {file} cannot be read: {error}")))?,
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("--payload is not JSON: {error}"))
            .hint("write JSON, such as '{\"serial\": 1}', or @FILE for a file that holds it")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        provision: ProvisionArgs,
    }

    fn derived(folder: &std::path::Path, more: &[&str]) -> Zeroizing<String> {
        let file = folder.join("group.key");
        std::fs::write(&file, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("a file");
        let arguments = ["provision", "--group-key-file", file.to_str().expect("text")];
        let cli = Cli::parse_from(arguments.iter().chain(more));
        key(&cli.provision).expect("a key").expect("derived")
    }

    #[test]
    fn a_group_key_is_a_key_also_where_the_id_is_missing() {
        let folder = std::env::temp_dir().join(format!("hubward-cli-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let group = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
        assert_eq!(derived(&folder, &["--registration-id", "dev-1"]), group.derive("dev-1").expose_base64());
        // The settings then name the id alone.
        derived(&folder, &[]);
        std::fs::remove_dir_all(&folder).expect("it is there");
    }
}
