//! The easy door: from settings to a connected hub client.

use std::sync::Arc;

use hubward_dps::{Assignment, Provisioner};
use hubward_hub::{HubClient, HubOptions};
use hubward_transport::{HubLogin, HubTransport, Stage};
use tokio::time::{Instant, timeout_at};

use crate::{ConnectError, Settings, SetupError, check_hub_transport, dps_transport, hub_transport};

/// Registers the device, connects to its hub, and waits until the hub has accepted it.
///
/// # Errors
/// [`ConnectError`]; its [`diagnosis`](ConnectError::diagnosis) says where, who has to act and what to
/// do.
///
/// # Cancel safety
/// Dropping the future closes what was opened. A registration that went out may have been made.
pub async fn connect(settings: &Settings) -> Result<HubClient, ConnectError> {
    let deadline = settings.deadline();
    check_hub_transport(settings.effective_hub_transport())?;
    let assignment = provision(settings).await?;
    connect_assigned(settings, &assignment, deadline).await
}

/// Registers the device: the first half of [`connect`].
///
/// # Errors
/// [`ConnectError::Setup`] and [`ConnectError::Provision`].
///
/// # Cancel safety
/// As for [`connect`].
pub async fn provision(settings: &Settings) -> Result<Assignment, ConnectError> {
    Ok(provisioner(settings)?.run().await?)
}

/// The registration these settings describe, for whoever wants to watch or change it before it runs.
///
/// # Errors
/// [`SetupError`] as for [`dps_transport`].
pub fn provisioner(settings: &Settings) -> Result<Provisioner, SetupError> {
    warn_about_proxies();
    let transport = dps_transport(settings.transport, settings)?;
    Ok(Provisioner::new(transport, settings.register(), settings.credential.clone()).deadline(settings.timeout))
}

/// A client of the assigned hub, not connected yet: it begins at once and in the background.
///
/// # Errors
/// [`SetupError`] as for [`hub_transport`].
pub fn hub_client(settings: &Settings, assignment: &Assignment, options: HubOptions) -> Result<HubClient, SetupError> {
    let transport = hub_transport(settings.effective_hub_transport(), settings)?;
    Ok(spawn(transport, settings, assignment, options))
}

fn spawn(
    transport: Arc<dyn HubTransport>,
    settings: &Settings,
    assignment: &Assignment,
    options: HubOptions,
) -> HubClient {
    let mut login = HubLogin::new(assignment.identity());
    login.user_agent = Some(settings.user_agent.clone());
    HubClient::spawn(transport, login, settings.credential.clone(), options)
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
    let started = Instant::now();
    let transport = hub_transport(settings.effective_hub_transport(), settings)?;
    let client = spawn(transport.clone(), settings, assignment, HubOptions::default());
    match timeout_at(deadline, client.connected()).await {
        Ok(Ok(())) => Ok(client),
        Ok(Err(error)) => Err(ConnectError::Hub(error)),
        Err(_) => Err(ConnectError::HubDeadline {
            hub: assignment.hub.clone(),
            endpoint: client.endpoint().to_owned(),
            stage: transport.doing().unwrap_or(Stage::Login),
            after: deadline.saturating_duration_since(started),
            last: client.last_error(),
        }),
    }
}

/// Says once that a proxy is configured which we do not use.
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
    async fn a_timeout_beyond_what_a_clock_can_say_is_none() {
        let (scope, id) = ("0ne1".parse().expect("a scope"), "dev-1".parse().expect("an id"));
        let settings = Settings::new("dps.example", scope, id, crate::SharedKey::generate().expect("a key"))
            .ca_file("there/is/no/such/file")
            .timeout(std::time::Duration::MAX);
        assert!(matches!(connect(&settings).await, Err(ConnectError::Setup(_))));
    }
}
