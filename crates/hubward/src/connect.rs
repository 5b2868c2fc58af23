//! From settings to a connected hub client.

use std::sync::Arc;

use hubward_dps::{Assignment, Provisioner};
use hubward_hub::{CloseReason, ConnectionState, DisconnectCause, HubClient, HubError};
use hubward_transport::{HubTransport, Stage, TransportError};
use tokio::time::{Instant, timeout_at};

use crate::error::SetupError;
use crate::transport::check_hub_transport;
use crate::{ConnectError, HubSettings, Settings};

/// Number of failed attempts after which [`HubSettings::connect`] gives up, if no program listens at an address of this
/// machine. The client waits at most one second between the two attempts.
const NOT_LISTENING_MAX: u32 = 2;

impl Settings {
    /// Registers the device, connects to its hub, and waits until the hub has accepted the device.
    ///
    /// # Errors
    /// [`ConnectError`]; its [`diagnosis`](ConnectError::diagnosis) says which stage failed, which party
    /// has to act, and what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections. DPS may still complete a registration that the client has sent. A
    /// later call registers again.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub async fn connect(self) -> Result<HubClient, ConnectError> {
        let deadline = self.options.deadline();
        check_hub_transport(self.effective_hub_transport())?;
        let assignment = self.provision().await?;
        self.hub_settings(&assignment).connect_until(deadline).await
    }

    /// Registers the device. This is the first step of [`Settings::connect`]. For the second step, pass the result to
    /// [`hub_settings`](Settings::hub_settings).
    ///
    /// # Errors
    /// [`ConnectError::Setup`] and [`ConnectError::Provision`].
    ///
    /// # Cancel safety
    /// The same as for [`Settings::connect`].
    pub async fn provision(&self) -> Result<Assignment, ConnectError> {
        Ok(self.provisioner()?.run().await?)
    }

    /// Creates a [`Provisioner`] for the registration that these settings describe, without starting the registration.
    /// The caller can follow the progress, change the retries, or continue an earlier registration.
    ///
    /// # Errors
    /// The errors of [`Settings::build_dps_transport`].
    pub fn provisioner(&self) -> Result<Provisioner, SetupError> {
        warn_about_proxies();
        let transport = self.build_dps_transport()?;
        let request = self.registration_request();
        Ok(Provisioner::new(transport, request, self.credential.clone()).deadline(self.options.timeout))
    }
}

impl HubSettings {
    /// Connects to the hub, and waits until the hub has accepted the device or module.
    ///
    /// # Errors
    /// [`ConnectError::Setup`], [`ConnectError::Unsupported`], [`ConnectError::Hub`], and
    /// [`ConnectError::HubDeadline`] if the [`timeout`](crate::ConnectOptions::timeout) has passed.
    ///
    /// If the address is on this machine and no program listens there, the function returns an error after two
    /// attempts, without waiting for the timeout. The client of [`HubSettings::spawn`] keeps trying in this case.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub async fn connect(self) -> Result<HubClient, ConnectError> {
        let deadline = self.options.deadline();
        self.connect_until(deadline).await
    }

    /// Creates a client that connects in the background. Unlike [`HubSettings::connect`], this function does not wait
    /// for the hub, and [`timeout`](crate::ConnectOptions::timeout) has no effect. The client accepts messages
    /// immediately. Call [`HubClient::connected`] to wait for the hub.
    ///
    /// # Errors
    /// [`ConnectError::Setup`], and [`ConnectError::Unsupported`] from
    /// [`before_login`](crate::ConnectOptions::before_login).
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub fn spawn(self) -> Result<HubClient, ConnectError> {
        let transport = self.build_hub_transport()?;
        self.spawn_over(transport)
    }

    fn spawn_over(self, transport: Arc<dyn HubTransport>) -> Result<HubClient, ConnectError> {
        warn_about_proxies();
        let client = HubClient::spawn(transport, self.login(), self.credential, self.options.hub_options.clone());
        self.options.prepare(&client)?;
        Ok(client)
    }

    async fn connect_until(self, deadline: Instant) -> Result<HubClient, ConnectError> {
        let started = Instant::now();
        let hub = self.identity.host.clone();
        let transport = self.build_hub_transport()?;
        let client = self.spawn_over(Arc::clone(&transport))?;
        match timeout_at(deadline, first_login(&client)).await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(error)) => Err(ConnectError::Hub(error)),
            Err(_) => Err(ConnectError::HubDeadline {
                hub,
                endpoint: client.endpoint().to_string(),
                stage: transport.stage().unwrap_or(Stage::Login),
                after: deadline.saturating_duration_since(started),
                last: client.last_error(),
            }),
        }
    }
}

/// Waits until the hub has accepted the client.
///
/// If no program listens at an address of this machine, the emulator is not running. The function then gives up early,
/// so that the user does not have to wait for the timeout.
///
/// This function is for the first login only. After the first login, the client keeps trying to reconnect, because an
/// emulator may restart.
async fn first_login(client: &HubClient) -> Result<(), HubError> {
    let is_decided = |it: &ConnectionState| it.is_connected() || it.is_closed() || absent(it).is_some();
    let absent = client.state().wait_for(is_decided).await.ok().and_then(|it| absent(&it));
    match absent {
        Some(error) => Err(CloseReason::Refused(error).into()),
        None => client.connected().await,
    }
}

/// Returns the error if no program listens at an address of this machine, and [`NOT_LISTENING_MAX`] attempts failed.
fn absent(state: &ConnectionState) -> Option<Arc<TransportError>> {
    match state {
        ConnectionState::Disconnected { cause: DisconnectCause::Transport(error), attempt, .. }
            if *attempt >= NOT_LISTENING_MAX && matches!(**error, TransportError::NotListening { .. }) =>
        {
            Some(Arc::clone(error))
        }
        _ => None,
    }
}

/// Logs a warning once if the environment names a proxy, because this version does not support proxies.
pub(crate) fn warn_about_proxies() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if let Some(variable) = hubward_dial::unused_proxy_variable() {
            tracing::warn!("{variable} is set, but proxies are not supported yet: connecting directly");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timeout_beyond_the_range_of_the_clock_is_accepted() {
        let (scope, id) = ("0ne1".parse().expect("a scope"), "dev-1".parse().expect("an id"));
        let settings = Settings::new("dps.example", scope, id, crate::SharedKey::generate().expect("a key"))
            .options(|it| it.ca_file("there/is/no/such/file").timeout(std::time::Duration::MAX));
        assert!(matches!(settings.connect().await, Err(ConnectError::Setup(_))));
    }
}
