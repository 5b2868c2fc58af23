//! From settings to a connected hub client.

use hubward_dps::{Assignment, Provisioner};
use hubward_hub::{HubClient, HubOptions, Unsupported};
use hubward_transport::Stage;
use tokio::time::{Instant, timeout_at};

use crate::{ConnectError, HubSettings, Settings, SetupError, check_hub_transport, dps_transport};

/// Registers the device, connects to its hub, and waits until the hub has accepted it.
///
/// # Errors
/// [`ConnectError`]; its [`diagnosis`](ConnectError::diagnosis) says which stage failed, which party
/// has to act, and what to do.
///
/// # Cancel safety
/// Dropping the future closes the connections. DPS may still complete a registration that was sent.
pub async fn connect(settings: &Settings) -> Result<HubClient, ConnectError> {
    connect_with(settings, |_| Ok(())).await
}

/// Like [`connect`], but calls `setup` before logging in to the hub; see [`connect_to_hub_with`].
///
/// # Errors
/// [`ConnectError::Unsupported`] from `setup`; otherwise the errors of [`connect`].
///
/// # Cancel safety
/// Like [`connect`].
pub async fn connect_with(
    settings: &Settings,
    setup: impl FnOnce(&HubClient) -> Result<(), Unsupported>,
) -> Result<HubClient, ConnectError> {
    let deadline = settings.deadline();
    check_hub_transport(settings.effective_hub_transport())?;
    let assignment = provision(settings).await?;
    connect_until(&HubSettings::assigned(settings, &assignment), deadline, setup).await
}

/// Registers the device: the first half of [`connect`].
///
/// # Errors
/// [`ConnectError::Setup`] and [`ConnectError::Provision`].
///
/// # Cancel safety
/// Like [`connect`].
pub async fn provision(settings: &Settings) -> Result<Assignment, ConnectError> {
    Ok(provisioner(settings)?.run().await?)
}

/// The registration that these settings describe. The caller can observe or change it before it runs.
///
/// # Errors
/// The errors of [`dps_transport`].
pub fn provisioner(settings: &Settings) -> Result<Provisioner, SetupError> {
    warn_about_proxies();
    let transport = dps_transport(settings.transport, settings)?;
    Ok(Provisioner::new(transport, settings.register(), settings.credential.clone()).deadline(settings.timeout))
}

/// Creates a client of the assigned hub. The client starts connecting in the background.
///
/// # Errors
/// The errors of [`hub_transport`](crate::hub_transport).
pub fn hub_client(settings: &Settings, assignment: &Assignment, options: HubOptions) -> Result<HubClient, SetupError> {
    HubSettings::assigned(settings, assignment).options(options).spawn()
}

/// Connects to the assigned hub and waits until it has accepted the device: the second half of
/// [`connect`].
///
/// # Errors
/// [`ConnectError::Setup`], [`ConnectError::Hub`], and [`ConnectError::HubDeadline`] at `deadline`.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn connect_assigned(
    settings: &Settings,
    assignment: &Assignment,
    deadline: Instant,
) -> Result<HubClient, ConnectError> {
    connect_until(&HubSettings::assigned(settings, assignment), deadline, |_| Ok(())).await
}

/// Connects a device or module that knows its hub, and waits until the hub has accepted it.
///
/// # Errors
/// [`ConnectError::Setup`], [`ConnectError::Hub`], and [`ConnectError::HubDeadline`] when
/// [`HubSettings::timeout`] is over.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn connect_to_hub(settings: &HubSettings) -> Result<HubClient, ConnectError> {
    connect_to_hub_with(settings, |_| Ok(())).await
}

/// Like [`connect_to_hub`], but calls `setup` before logging in to the hub. A hub that remembers the
/// device from an earlier connection may call its methods immediately; handlers that `setup` registers
/// answer these calls.
///
/// ```no_run
/// # async fn example(settings: &hubward::HubSettings) -> Result<(), hubward::ConnectError> {
/// use hubward::{MethodResponse, connect_to_hub_with};
///
/// let hub = connect_to_hub_with(settings, |hub| {
///     hub.serve_method("reboot", |_call| async { Ok(MethodResponse::new(202)) })
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ConnectError::Unsupported`] from `setup`; otherwise the errors of [`connect_to_hub`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn connect_to_hub_with(
    settings: &HubSettings,
    setup: impl FnOnce(&HubClient) -> Result<(), Unsupported>,
) -> Result<HubClient, ConnectError> {
    warn_about_proxies();
    connect_until(settings, settings.deadline(), setup).await
}

/// Connects the device or module that a connection string describes, over MQTT, and waits until the
/// hub has accepted it. For another transport, certificate authority or deadline, build [`HubSettings`]
/// and call [`connect_to_hub`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward::{HubOptions, Message, connect_with_connection_string};
///
/// let text = std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?;
/// let hub = connect_with_connection_string(&text, HubOptions::default()).await?;
/// hub.send(Message::new("21.5")).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ConnectError::ConnectionString`] names the invalid part, never its value; otherwise the errors of
/// [`connect_to_hub`].
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn connect_with_connection_string(text: &str, options: HubOptions) -> Result<HubClient, ConnectError> {
    connect_to_hub(&HubSettings::from_connection_string(text)?.options(options)).await
}

async fn connect_until(
    settings: &HubSettings,
    deadline: Instant,
    setup: impl FnOnce(&HubClient) -> Result<(), Unsupported>,
) -> Result<HubClient, ConnectError> {
    let started = Instant::now();
    let transport = settings.hub_transport()?;
    let client = settings.spawn_over(transport.clone());
    setup(&client)?;
    match timeout_at(deadline, client.connected()).await {
        Ok(Ok(())) => Ok(client),
        Ok(Err(error)) => Err(ConnectError::Hub(error)),
        Err(_) => Err(ConnectError::HubDeadline {
            hub: settings.identity.host.clone(),
            endpoint: client.endpoint().to_string(),
            stage: transport.stage().unwrap_or(Stage::Login),
            after: deadline.saturating_duration_since(started),
            last: client.last_error(),
        }),
    }
}

/// Warns once about a configured proxy, which this version does not use.
fn warn_about_proxies() {
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
            .ca_file("there/is/no/such/file")
            .timeout(std::time::Duration::MAX);
        assert!(matches!(connect(&settings).await, Err(ConnectError::Setup(_))));
    }
}
