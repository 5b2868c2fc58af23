//! The handle of a device, and how a device starts.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hubward_dps::ProvisionError;
use hubward_hub::{HubClient, MethodResponse};
use hubward_transport::Stage;
use tokio::time::{Instant, timeout_at};

use super::certificate_issuance::CertificateIssuance;
use super::control::{Control, CredentialChange, RegisterRequest};
use super::credentials::{Credentials, NamedCredential};
use super::event_stream::DeviceEvents;
use super::issuance::Renewer;
use super::network::{Network, RealNetwork};
use super::settings::DeviceSettings;
use super::storage::{FileStorage, NoStorage, Storage};
use super::supervisor::Supervisor;
use crate::connect::warn_about_proxies;
use crate::error::SettingsError;
use crate::transport::check_hub_transport;
use crate::{ConnectError, Settings};

/// How long `connect` waits for the supervisor's error after the timeout. The supervisor has the same timeout, so the
/// error comes at once, unless a signer or a file system hangs.
const VERDICT_LIMIT: Duration = Duration::from_secs(1);

/// A device that keeps itself connected. It registers with DPS, connects to its hub, recovers from failures, and
/// follows its moves to other hubs.
///
/// ```no_run
/// use hubward::{Device, Message};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let device = Device::from_env()?.cache("assignment.cache").connect().await?;
///     device.send(Message::new("21.5")).await?;
///     Ok(())
/// }
/// ```
///
/// A device contains a [`HubClient`], and dereferences to it: `device.send(…)` sends a message, and `device.close(…)`
/// closes the client and ends the device. The client stays the same when the device moves to another hub. Receipts,
/// method handlers, and receivers of messages and desired properties stay valid.
///
/// Clones of a handle are for the same device. The device ends when the program has dropped the last handle, also those
/// of its [`hub`](Device::hub), or has closed the client.
///
/// # Failures and what the device does
///
/// | failure | what the device does |
/// |---|---|
/// | the connection fails, or the hub is busy | it stays with its hub, and connects again with growing waits |
/// | the hub fails 10 times in a row, for at least 15 minutes | it registers once |
/// | the hub refuses the device | it tries its next credential, then it registers once: it may have been moved |
/// | the hub still refuses the device | it registers after 5 minutes, 10 minutes, and so on, up to 1 hour |
/// | DPS fails, and the device has a hub | it returns to the hub |
/// | DPS fails, and the device has no hub | it registers again, with growing waits, as late as DPS asks for |
///
/// The page "Run a device in the field" (`docs/field.md` in the repository) lists more failures, and says what an
/// operator does. [`DevicePolicy`](crate::DevicePolicy) has all the numbers. The device reports each step, and the
/// reason, as a [`DeviceEvent`](crate::DeviceEvent).
#[derive(Debug, Clone)]
#[must_use]
pub struct Device {
    hub: HubClient,
    control: Arc<Control>,
}

impl Device {
    /// Reads the settings of a device from the environment; see [`DeviceSettings::from_env`].
    ///
    /// # Errors
    /// [`SettingsError`] names every missing and every invalid variable.
    pub fn from_env() -> Result<DeviceSettings, SettingsError> {
        DeviceSettings::from_env()
    }

    /// The client of the hub, for code that takes a [`HubClient`].
    pub const fn hub(&self) -> &HubClient {
        &self.hub
    }

    /// Registers the device again, for example because an operator has moved it. Does not wait. If DPS assigns another
    /// hub, the client moves as for a planned [renewal](crate::HubOptions::renewal_drain).
    ///
    /// Several calls before the registration count as one.
    pub fn reprovision(&self) {
        self.control.request_registration(RegisterRequest::Program);
        self.hub.ask_provider();
    }

    /// Changes the credentials while the device is running. Returns a future with the outcome; the change starts at
    /// once, whether or not the program waits for the future.
    ///
    /// The new credentials are on trial: the device connects with them, as for a planned
    /// [renewal](crate::HubOptions::renewal_drain), and keeps them when the hub has accepted one of them. Otherwise, it
    /// returns to the credentials that it had before, and the future returns the reason.
    ///
    /// A change does not change the program's settings. So the program must store the new credentials for its next
    /// start.
    pub fn change_credentials(
        &self,
        credentials: impl IntoIterator<Item = impl Into<NamedCredential>>,
    ) -> CredentialChange {
        let credentials = Credentials::new(credentials.into_iter().map(Into::into));
        let change = self.control.request_change(credentials);
        self.hub.ask_provider();
        change
    }

    /// Returns a stream of the device's events from now on. For the events from the start on, use
    /// [`DeviceSettings::on_event`].
    #[must_use]
    pub fn events(&self) -> DeviceEvents {
        self.control.events().subscribe()
    }
}

impl Deref for Device {
    type Target = HubClient;

    fn deref(&self) -> &HubClient {
        &self.hub
    }
}

impl Settings {
    /// Makes the settings of a [`Device`]: it keeps itself connected, and follows its moves to other hubs.
    pub fn device(self) -> DeviceSettings {
        DeviceSettings::new(self)
    }
}

impl DeviceSettings {
    /// Starts the device, and waits until its hub has accepted it for the first time.
    ///
    /// # Errors
    /// [`ConnectError`], as for [`Settings::connect`]: if a failure cannot be changed by a retry, or if the
    /// [`timeout`](crate::ConnectOptions::timeout) has passed. The error then contains the last failure. After this
    /// function has returned a device, the device never gives up.
    ///
    /// # Cancel safety
    /// Dropping the future ends the device. DPS may still complete a registration that the device has sent.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub async fn connect(self) -> Result<Device, ConnectError> {
        let network = self.real_network();
        self.connect_over(network).await
    }

    /// Starts the device in the background, and returns at once. The device never gives up: it waits for DPS and the
    /// hub as long as it takes, and [`timeout`](crate::ConnectOptions::timeout) has no effect. Its client accepts
    /// messages before there is a hub. Call [`HubClient::connected`] to wait for the first login.
    ///
    /// # Errors
    /// [`ConnectError::Setup`] if this build does not support the transport to the hub, and
    /// [`ConnectError::Unsupported`] from [`before_login`](crate::ConnectOptions::before_login).
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub fn spawn(self) -> Result<Device, ConnectError> {
        let network = self.real_network();
        self.spawn_over(network)
    }

    /// Like [`DeviceSettings::connect`], over another network.
    pub(crate) async fn connect_over(self, network: Box<dyn Network>) -> Result<Device, ConnectError> {
        let (started, until) = (Instant::now(), self.settings.options.deadline());
        let dps = format!("{}:{}", self.settings.dps_host, self.settings.transport.default_port());
        let storage = self.storage();
        let device = self.start(network, storage, Some(until))?;
        let error = match timeout_at(until, device.hub.connected()).await {
            Ok(Ok(())) => return Ok(device),
            Ok(Err(error)) => Some(ConnectError::Hub(error)),
            Err(_) => None,
        };
        let control = &device.control;
        match (error, control.approach()) {
            (Some(error), _) => Err(control.take_verdict().unwrap_or(error)),
            (None, Some(approach)) => Err(ConnectError::HubDeadline {
                hub: approach.hub,
                endpoint: device.hub.endpoint().to_string(),
                stage: approach.transport.stage().unwrap_or(Stage::Login),
                after: until.saturating_duration_since(approach.since),
                last: device.hub.last_error(),
            }),
            (None, None) => {
                // Both timers have the same end. The supervisor may be about to report the failure.
                let _late = timeout_at(Instant::now() + VERDICT_LIMIT, device.hub.closed()).await;
                let after = until.saturating_duration_since(started);
                Err(control.take_verdict().unwrap_or_else(|| ProvisionError::Deadline { endpoint: dps, after }.into()))
            }
        }
    }

    /// Like [`DeviceSettings::spawn`], over another network.
    pub(crate) fn spawn_over(self, network: Box<dyn Network>) -> Result<Device, ConnectError> {
        let storage = self.storage();
        self.start(network, storage, None)
    }

    /// Starts the device. `until` is the time at which it gives up, if it has not connected.
    pub(crate) fn start(
        self,
        network: Box<dyn Network>,
        storage: Box<dyn Storage>,
        until: Option<Instant>,
    ) -> Result<Device, ConnectError> {
        check_hub_transport(self.settings.effective_hub_transport())?;
        warn_about_proxies();
        let options = self.settings.options.clone();
        let method = self.reprovision_method.clone();
        let control = Arc::new(Control::new(self.settings.registration_id.clone(), self.hook()));
        let supervisor = Supervisor::new(self, Arc::clone(&control), network, storage, until);
        let keeper = supervisor.keeper();
        let hub = HubClient::spawn_with_provider(Box::new(supervisor), options.hub_options.clone());
        if let Some(keeper) = keeper {
            tokio::spawn(Renewer::new(keeper, Arc::clone(&control), hub.downgrade()).run());
        }
        if let Some(name) = method {
            serve_reprovisioning(&hub, &control, name)?;
        }
        options.prepare(&hub)?;
        Ok(Device { hub, control })
    }

    fn real_network(&self) -> Box<dyn Network> {
        let clock = self.certificate_issuance.as_ref().and_then(CertificateIssuance::wall_clock);
        Box::new(RealNetwork::new(clock))
    }

    fn storage(&self) -> Box<dyn Storage> {
        match &self.cache {
            Some(file) => Box::new(FileStorage::new(file.clone())),
            None => Box::new(NoStorage),
        }
    }
}

/// Registers the direct method with which an operator makes the device register again.
fn serve_reprovisioning(hub: &HubClient, control: &Arc<Control>, name: String) -> Result<(), ConnectError> {
    let control = Arc::clone(control);
    let method = name.clone();
    hub.serve_method(name, move |call| {
        control.request_registration(RegisterRequest::Method(method.clone()));
        if let Some(hub) = call.hub() {
            hub.ask_provider();
        }
        async { Ok(MethodResponse::new(200)) }
    })?;
    Ok(())
}
