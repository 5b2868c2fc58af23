//! How the commands of a device connect: through DPS, or with a connection string.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hubward::error::{CloseReason, DeviceStringError, HubError, Unsupported};
use hubward::{
    ConnectError, ConnectOptions, Credential, DeviceSettings, HubClient, HubOptions, HubSettings, TransportKind,
    limits, vars,
};
use zeroize::Zeroizing;

use super::event_printer::EventPrinter;
use crate::certificate_args::is_for_certificate;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::keys::{Secret, read_secret_file};
use crate::output::{AssignmentFacts, DeviceEvent, Event, Output};
use crate::provisioning::{DpsArgs, NetworkArgs, USER_AGENT};
use crate::recovery_args::RecoveryArgs;
use crate::session::{self, FLUSH};
use crate::spinner::Spinner;

const DPS_FLAGS: [&str; 11] = [
    "dps_host",
    "id_scope",
    "registration_id",
    "symmetric_key_file",
    "symmetric_key_stdin",
    "symmetric_key",
    "group_key_file",
    "payload",
    "cache",
    "secondary_key_file",
    "issued_certificate",
];

/// The variables that show that the device can register with DPS.
const DPS_VARIABLES: [&str; 3] = [vars::HOST, vars::ID_SCOPE, vars::REGISTRATION_ID];

/// The shortest token lifetime that the hub client can renew in time.
const SHORTEST_TOKEN: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Transport to DPS and hub: mqtt or mqtt-ws [env: HUBWARD_TRANSPORT] [default: mqtt]
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportKind>,
    /// File with the connection string of a device or module; `-` reads standard input.
    ///
    /// The command then connects without DPS. [env: IOTHUB_DEVICE_CONNECTION_STRING, the string itself]
    #[arg(long, value_name = "FILE", conflicts_with_all = DPS_FLAGS)]
    connection_string_file: Option<PathBuf>,
    /// Connection string; visible to other users of this machine.
    ///
    /// Other users can see the connection string in the list of processes. Prefer a file, standard input or
    /// IOTHUB_DEVICE_CONNECTION_STRING.
    #[arg(long, value_name = "TEXT", conflicts_with = "connection_string_file", conflicts_with_all = DPS_FLAGS)]
    connection_string: Option<Secret>,
    #[command(flatten)]
    dps: DpsArgs,
    #[command(flatten)]
    recovery: RecoveryArgs,
    #[command(flatten)]
    network: NetworkArgs,
    /// MQTT keep-alive: idle time before a ping; whole seconds up to 1177s.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = keep_alive)]
    keep_alive: Duration,
    /// Lifetime of a SAS token; the client renews it after about 85 % of it.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = token_lifetime)]
    token_lifetime: Duration,
    /// PnP model that the device announces, such as 'dtmi:com:example:Thermostat;1'.
    #[arg(long, value_name = "DTMI", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    model_id: Option<String>,
    /// Time limit for registering and connecting, then for each message or request.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::duration::parse_positive)]
    timeout: Duration,
}

fn keep_alive(text: &str) -> Result<Duration, String> {
    let duration = crate::duration::parse_positive(text)?;
    if duration.subsec_nanos() != 0 || duration > limits::KEEP_ALIVE_MAX {
        return Err(format!("the keep-alive must be whole seconds from 1s to {}s", limits::KEEP_ALIVE_MAX.as_secs()));
    }
    Ok(duration)
}

fn token_lifetime(text: &str) -> Result<Duration, String> {
    let duration = crate::duration::parse_positive(text)?;
    if duration < SHORTEST_TOKEN {
        return Err(format!("the lifetime of a token must be at least {}s", SHORTEST_TOKEN.as_secs()));
    }
    Ok(duration)
}

/// The settings for connecting to the hub. The files and variables are already read.
#[derive(Debug)]
pub(super) struct Connection {
    source: HubSource,
    timeout: Duration,
}

/// The source of the hub's name.
#[derive(Debug)]
enum HubSource {
    Dps(Box<DeviceSettings>),
    ConnectionString(Box<HubSettings>),
}

impl ConnectionArgs {
    /// Reads the files and variables that the arguments name. Also reads the key if the user types it at a terminal.
    ///
    /// Reading blocks the thread, so call this before [`Stop::listen`](crate::stop::Stop::listen).
    pub(super) fn read(&self) -> Result<Connection, Failure> {
        let source = match self.connection_string()? {
            Some(text) => HubSource::ConnectionString(Box::new(self.hub_settings(&text)?)),
            None => HubSource::Dps(Box::new(self.device_settings()?)),
        };
        Ok(Connection { source, timeout: self.timeout })
    }

    /// Whether standard input holds a key or a connection string.
    pub(super) fn reads_stdin(&self) -> bool {
        self.dps.reads_stdin()
            || self.recovery.reads_stdin()
            || self.connection_string_file.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }

    /// Returns the connection string, or `None` if the device connects through DPS.
    ///
    /// A flag takes precedence over a variable: a flag for DPS, such as `--dps-host`, selects DPS even if the variable
    /// of the connection string is set. Without flags, this variable takes precedence over the variables of DPS.
    ///
    /// The flags of a certificate select DPS if the connection string of the variable has a key or token, and a
    /// variable of DPS is set.
    fn connection_string(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(file) = &self.connection_string_file {
            return read_secret_file("connection string", file).map(Some);
        }
        if let Some(text) = &self.connection_string {
            tracing::warn!(
                "the connection string is on the command line, where other users of this machine can read it; \
                 prefer --connection-string-file or {}",
                vars::CONNECTION_STRING
            );
            return Ok(Some(Zeroizing::new(text.expose().to_owned())));
        }
        if self.dps.is_given() || self.recovery.is_given() {
            return Ok(None);
        }
        let text = crate::environment::variable(vars::CONNECTION_STRING).map(Zeroizing::new);
        Ok(text.filter(|it| !self.dps.certificate.is_given() || !is_for_other_login(it)))
    }

    /// Whether an option gives a connection string.
    const fn is_connection_string_given(&self) -> bool {
        self.connection_string_file.is_some() || self.connection_string.is_some()
    }

    fn hub_settings(&self, text: &Zeroizing<String>) -> Result<HubSettings, Failure> {
        // Check the string itself first. `from_vars` checks it too, but its errors name the variable, even if the
        // string comes from a file.
        let parsed = HubSettings::from_connection_string(text).map_err(refused_string)?;
        // A string of a flag with a key replaces the certificate of the variables.
        let has_key = !matches!(parsed.credential, Credential::MissingCertificate);
        let is_replaced = |name: &str| has_key && self.is_connection_string_given() && is_for_certificate(name);
        let certificate = self.dps.certificate.read()?;
        let variable = |name: &str| match name {
            vars::CONNECTION_STRING => Some(text.to_string()),
            vars::TRANSPORT => self.transport.map(|it| it.to_string()).or_else(|| crate::environment::variable(name)),
            name => {
                certificate.value(name).or_else(|| crate::environment::variable(name).filter(|_| !is_replaced(name)))
            }
        };
        let mut settings = HubSettings::from_vars(variable)?;
        check_transport(settings.transport)?;
        self.network.apply(&mut settings.options.ca_file, &mut settings.options.dial_overrides);
        USER_AGENT.clone_into(&mut settings.options.user_agent);
        Ok(settings.options(|it| self.options(it)))
    }

    fn device_settings(&self) -> Result<DeviceSettings, Failure> {
        if self.dps.reads_stdin() && self.recovery.reads_stdin() {
            return Err(Failure::usage("standard input cannot hold two secrets").hint("read one of them from a file"));
        }
        let device = self.dps.device_settings(&self.network, &self.recovery, self.transport)?;
        check_transport(device.settings.transport)?;
        Ok(device.settings(|it| it.options(|it| self.options(it))))
    }

    fn options(&self, mut options: ConnectOptions) -> ConnectOptions {
        options.model_id.clone_from(&self.model_id);
        options.hub_options = options
            .hub_options
            .token_lifetime(self.token_lifetime)
            .send_deadline(Some(self.timeout))
            .twin_deadline(Some(self.timeout));
        options.timeout(self.timeout).keep_alive(self.keep_alive)
    }
}

/// Whether the connection string has a key or token, and the variables of DPS are set too. Returns
/// `false` for a string that cannot be read, so that the user gets to know its error.
fn is_for_other_login(text: &str) -> bool {
    let has_key = HubSettings::from_connection_string(text)
        .is_ok_and(|it| !matches!(it.credential, Credential::MissingCertificate));
    has_key && DPS_VARIABLES.into_iter().any(|it| crate::environment::variable(it).is_some())
}

/// Refuses a transport that cannot reach a hub.
fn check_transport(kind: TransportKind) -> Result<(), Failure> {
    hubward::transport::check_hub_transport(kind).map_err(|error| {
        let not_for_hubs = matches!(error, hubward::error::SetupError::NotForHubs { .. });
        let failure = Failure::from(error);
        if not_for_hubs {
            failure.hint(format!("use --transport mqtt or mqtt-ws, or set {}", vars::TRANSPORT))
        } else {
            failure
        }
    })
}

fn refused_string(error: DeviceStringError) -> Failure {
    let exit_code = ExitCode::from(error.fault());
    let hint = "copy the device's connection string from the portal: HostName=…;DeviceId=…;SharedAccessKey=…, or with \
                x509=true in place of the key";
    Failure::new(exit_code, "arguments", error.fault().to_string(), error.to_string()).hint(hint)
}

/// A device that is connected to its hub, or keeps trying.
pub(super) struct Online {
    pub(super) client: HubClient,
    /// Prints the events of the device; `None` with a connection string.
    pub(super) events: Option<EventPrinter>,
    /// The device's answer from DPS, if it registered at the start.
    pub(super) assignment: Option<AssignmentFacts>,
}

impl Connection {
    /// Whether the identity is a module.
    pub(super) fn is_module(&self) -> bool {
        matches!(&self.source, HubSource::ConnectionString(settings) if settings.identity.module.is_some())
    }

    /// The options of the hub client.
    pub(super) fn options(&mut self) -> &mut HubOptions {
        match &mut self.source {
            HubSource::Dps(device) => &mut device.settings.options.hub_options,
            HubSource::ConnectionString(settings) => &mut settings.options.hub_options,
        }
    }

    /// The settings of a device that finds its hub through DPS; `None` with a connection string.
    pub(super) fn device_settings(&mut self) -> Option<&mut DeviceSettings> {
        match &mut self.source {
            HubSource::Dps(device) => Some(device),
            HubSource::ConnectionString(_) => None,
        }
    }

    /// Connects to the hub. Without a connection string, the device uses its cache, or registers with DPS first.
    pub(super) async fn open(&self, output: &Output) -> Result<Online, Failure> {
        self.open_serving(output, |_| Ok(())).await
    }

    /// Like [`open`](Self::open), but registers method handlers before logging in to the hub.
    pub(super) async fn open_serving(
        &self,
        output: &Output,
        serve_methods: impl Fn(&HubClient) -> Result<(), Unsupported> + Send + Sync + 'static,
    ) -> Result<Online, Failure> {
        match &self.source {
            HubSource::ConnectionString(settings) => {
                let spinner = Spinner::start(output, "connecting to the hub");
                let settings = (**settings).clone();
                let (identity, transport) = (settings.identity.clone(), settings.transport);
                let client = settings.options(|it| it.before_login(serve_methods)).connect().await?;
                spinner.stop();
                let online = DeviceEvent::Online { identity: &identity, transport };
                output.tell_device_event(&online).await;
                Ok(Online { client, events: None, assignment: None })
            }
            HubSource::Dps(device) => {
                let device = (**device).clone().settings(|it| it.options(|it| it.before_login(serve_methods)));
                let settings = device.settings.clone();
                let (events, device) = EventPrinter::start(device, output);
                let device = match Box::pin(device.connect()).await {
                    Ok(device) => device,
                    Err(error) => {
                        events.printed().await;
                        return Err(session::explained(error.into(), &settings));
                    }
                };
                events.connected(device.hub()).await;
                let assignment = events.milestones().borrow().assignment.clone();
                Ok(Online { client: device.hub().clone(), events: Some(events), assignment })
            }
        }
    }

    /// Starts the device, and does not wait for its hub: the device keeps trying. With a connection string, connects as
    /// [`open_serving`](Self::open_serving) does.
    pub(super) async fn start_serving(
        &self,
        output: &Output,
        serve_methods: impl Fn(&HubClient) -> Result<(), Unsupported> + Send + Sync + 'static,
    ) -> Result<Online, Failure> {
        let HubSource::Dps(device) = &self.source else { return self.open_serving(output, serve_methods).await };
        let device = (**device).clone().settings(|it| it.options(|it| it.before_login(serve_methods)));
        let (events, device) = EventPrinter::start(device, output);
        let device = device.spawn()?;
        Ok(Online { client: device.hub().clone(), events: Some(events), assignment: None })
    }

    /// The time limit for each message or request after the device has connected.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Online {
    /// Converts an error of the client. If a step with the hub failed, and the error does not name the hub, adds the
    /// hub's address. The stage of such a step begins with `hub-`.
    pub(super) fn failed(&self, error: impl Into<Failure>) -> Failure {
        let mut failure = error.into();
        if failure.stage.starts_with("hub-") {
            failure.endpoint.get_or_insert_with(|| self.client.endpoint().to_string());
        }
        failure
    }

    /// Waits until the events of the device up to now are printed.
    pub(super) async fn printed(&self) {
        if let Some(events) = &self.events {
            events.printed().await;
        }
    }

    /// Closes the connection, prints the counts, and returns the exit code.
    pub(super) async fn finish(&self, counts: &[(&'static str, u64)], output: &Output) -> ExitCode {
        let closed = self.client.close(FLUSH).await;
        tracing::debug!(?closed, "the hub client is closed");
        self.printed().await;
        output.tell(&Event::Finished { counts }).await;
        ExitCode::Ok
    }
}

/// Returns the failure to report if the client closes by itself.
pub(super) fn ended(reason: CloseReason) -> Failure {
    ConnectError::Hub(HubError::from(reason)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_and_token_lifetime_have_limits() {
        for (text, valid) in [("1s", true), ("1177s", true), ("1178s", false), ("500ms", false), ("1500ms", false)] {
            assert_eq!(keep_alive(text).is_ok(), valid, "{text}");
        }
        for (text, valid) in [("2s", true), ("1s", false), ("24h", true)] {
            assert_eq!(token_lifetime(text).is_ok(), valid, "{text}");
        }
    }
}
