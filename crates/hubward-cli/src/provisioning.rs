//! The arguments of commands that find their hub through DPS. Builds the settings from these arguments.

use std::path::PathBuf;

use clap::Args;
use hubward::error::SettingsError;
use hubward::{DeviceSettings, DialOverride, IdScope, RegistrationId, Settings, SharedKey, TransportKind, vars};
use zeroize::Zeroizing;

use crate::certificate_args::{CertificateArgs, is_for_certificate};
use crate::failure::Failure;
use crate::input;
use crate::keys::{KeySource, read_key_file};
use crate::recovery_args::RecoveryArgs;

/// The user agent that services see.
pub(crate) const USER_AGENT: &str = concat!("hubward-cli/", env!("CARGO_PKG_VERSION"));

/// The DPS, and the identity to register.
#[derive(Debug, Args)]
pub(crate) struct DpsArgs {
    /// Host name of DPS, such as global.azure-devices-provisioning.net [env: PROVISIONING_HOST]
    #[arg(long, value_name = "HOST")]
    pub(crate) dps_host: Option<String>,
    /// ID scope of the DPS instance, such as 0ne00123ABC [env: PROVISIONING_IDSCOPE]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) id_scope: Option<IdScope>,
    /// Registration ID of the device [env: PROVISIONING_REGISTRATION_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) registration_id: Option<RegistrationId>,
    #[command(flatten)]
    pub(crate) key: KeySource,
    /// File with the enrollment group's key in base64; `-` reads standard input.
    ///
    /// The command derives the device's key from the group's key.
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["symmetric_key_file", "symmetric_key_stdin", "symmetric_key"])]
    pub(crate) group_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) certificate: CertificateArgs,
    /// JSON payload for a custom allocation; `@FILE` reads a file.
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: Option<String>,
}

/// How to dial host names and check certificates.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// PEM file of authorities to trust in place of the system's [env: HUBWARD_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Dial ADDR:PORT in place of HOST:PORT; may be repeated [env: HUBWARD_CONNECT_TO]
    ///
    /// Certificates and tokens still use HOST, as with curl's option of this name. In the variable, separate the rules
    /// with commas.
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT")]
    pub(crate) connect_to: Vec<DialOverride>,
}

impl DpsArgs {
    /// Returns the settings for provisioning. Flags take precedence over variables. If settings are missing, the error
    /// names all of them.
    pub(crate) fn settings(
        &self,
        network: &NetworkArgs,
        transport: Option<TransportKind>,
    ) -> Result<Settings, Failure> {
        let mut settings = self.read(transport, None, |variable| Settings::from_vars(variable))?;
        self.complete(&mut settings, network)?;
        Ok(settings)
    }

    /// Like [`settings`](Self::settings), for a device that keeps itself connected.
    pub(crate) fn device_settings(
        &self,
        network: &NetworkArgs,
        recovery: &RecoveryArgs,
        transport: Option<TransportKind>,
    ) -> Result<DeviceSettings, Failure> {
        let second = recovery.secondary_key()?;
        let mut device = self.read(transport, second, |variable| DeviceSettings::from_vars(variable))?;
        self.complete(&mut device.settings, network)?;
        recovery.apply(&mut device);
        Ok(device)
    }

    /// Builds settings from the flags and the variables. `second` is the second key of the device, if a flag supplies
    /// it.
    fn read<S>(
        &self,
        transport: Option<TransportKind>,
        second: Option<Zeroizing<String>>,
        from_vars: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> Result<S, SettingsError>,
    ) -> Result<S, Failure> {
        let (key, certificate) = (self.key()?, self.certificate.read()?);
        let flag = |name: &str| match name {
            vars::SECONDARY_KEY => second.as_ref().map(|it| it.to_string()),
            vars::HOST => self.dps_host.clone(),
            vars::ID_SCOPE => self.id_scope.as_ref().map(ToString::to_string),
            vars::REGISTRATION_ID => self.registration_id.as_ref().map(ToString::to_string),
            vars::SYMMETRIC_KEY => key.as_ref().map(|it| it.to_string()),
            vars::TRANSPORT => transport.map(|it| it.to_string()),
            name => certificate.value(name),
        };
        // A key or certificate of a flag replaces the certificate or key of a variable.
        let is_replaced = |name: &str| match name {
            vars::SYMMETRIC_KEY => self.certificate.is_given(),
            name => key.is_some() && is_for_certificate(name),
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|_| !is_replaced(name));
        Ok(from_vars(&|name| flag(name).or_else(|| variable(name)))?)
    }

    /// Adds what has no variable.
    fn complete(&self, settings: &mut Settings, network: &NetworkArgs) -> Result<(), Failure> {
        settings.payload = self.payload.as_deref().map(|it| input::json("--payload", it)).transpose()?;
        settings.options.user_agent = USER_AGENT.to_owned();
        network.apply(&mut settings.options.ca_file, &mut settings.options.dial_overrides);
        Ok(())
    }

    /// Returns the device's key if a flag supplies it. With `--group-key-file`, derives the key from the group's key.
    fn key(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(file) = &self.group_key_file else { return self.key.read() };
        let group = SharedKey::from_base64(&read_key_file(file)?)
            .map_err(|error| Failure::usage(format!("the group key: {error}")))?;
        let id = self
            .registration_id
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| std::env::var(vars::REGISTRATION_ID).ok());
        // If the registration ID is missing, derive a key from an empty ID. No request uses this key: the caller builds
        // the settings next, and this step fails with an error about the missing ID.
        Ok(Some(group.derive(id.unwrap_or_default().trim()).expose_base64()))
    }

    /// Returns whether a flag for DPS is given. The flag means that the command must register with DPS. The flags of a
    /// certificate do not count, because a connection string can need a certificate too.
    pub(crate) fn is_given(&self) -> bool {
        self.dps_host.is_some()
            || self.id_scope.is_some()
            || self.registration_id.is_some()
            || self.group_key_file.is_some()
            || self.key.is_given()
            || self.payload.is_some()
    }

    /// Whether standard input holds a key.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.key.reads_stdin()
            || self.certificate.reads_stdin()
            || self.group_key_file.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }
}

impl NetworkArgs {
    /// Adds the flags to the settings that come from the variables.
    pub(crate) fn apply(&self, ca_file: &mut Option<PathBuf>, connect_to: &mut Vec<DialOverride>) {
        if self.ca_file.is_some() {
            ca_file.clone_from(&self.ca_file);
        }
        // The dialer uses the first rule that matches. Put the rules of the flags first, because flags take precedence.
        connect_to.splice(0..0, self.connect_to.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        dps: DpsArgs,
    }

    fn derived(folder: &std::path::Path, more: &[&str]) -> Zeroizing<String> {
        let file = folder.join("group.key");
        std::fs::write(&file, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("a file");
        let arguments = ["provision", "--group-key-file", file.to_str().expect("text")];
        let cli = Cli::parse_from(arguments.iter().chain(more));
        cli.dps.key().expect("a key").expect("derived")
    }

    #[test]
    fn a_group_key_yields_a_key_even_if_the_id_is_missing() {
        let folder = std::env::temp_dir().join(format!("hubward-cli-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let group = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
        assert_eq!(derived(&folder, &["--registration-id", "dev-1"]), group.derive("dev-1").expose_base64());
        // The missing ID causes no error here. The settings report it.
        derived(&folder, &[]);
        std::fs::remove_dir_all(&folder).expect("it is there");
    }
}
