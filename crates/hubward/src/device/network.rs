//! What a supervisor needs from outside: connections to DPS and hubs, the wall clock, and randomness. Simulations and
//! tests use their own implementation.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use hubward_hub::HubTarget;
use hubward_proto::HubHost;
use hubward_proto::hub::HubIdentity;
use hubward_transport::{Abilities, ClientCertificate, Credential, DpsTransport, TransportKind, clock};

use super::certificate_issuance::WallClock;
use super::reconnect_limiter::ReconnectLimiter;
use crate::error::SetupError;
use crate::{HubSettings, Settings};

/// Builds the connections of a device. One value serves one device.
#[async_trait]
pub(crate) trait Network: Send + Sync + fmt::Debug {
    /// The features of a hub that this protocol supports.
    fn abilities(&self, kind: TransportKind) -> Abilities;

    /// Builds a transport to DPS that logs in with `credential`. Opens no connection.
    ///
    /// # Errors
    /// [`SetupError`] if the certificate authorities cannot be read, or the credential cannot be used.
    async fn dps(&self, settings: &Settings, credential: &Credential) -> Result<Box<dyn DpsTransport>, SetupError>;

    /// Builds the target for a device at its hub. Opens no connection.
    ///
    /// # Errors
    /// As for [`Network::dps`].
    async fn hub(
        &self,
        settings: &Settings,
        identity: HubIdentity,
        credential: &Credential,
    ) -> Result<HubTarget, SetupError>;

    /// Like [`Network::hub`], with a certificate that DPS or the hub has issued. Does not check its dates. The client
    /// can request further certificates.
    ///
    /// # Errors
    /// [`SetupError`] if the certificate authorities cannot be read.
    async fn hub_with_issued(
        &self,
        settings: &Settings,
        identity: HubIdentity,
        certificate: &ClientCertificate,
    ) -> Result<HubTarget, SetupError> {
        let mut target = self.hub(settings, identity, &certificate.clone().into()).await?;
        target.login.certificate_requests = true;
        Ok(target)
    }

    /// Reserves a time for an attempt to connect to `hub`, not before `wait` has passed. Returns how long the attempt
    /// has to wait, so that the devices of one process do not all connect at once.
    fn reserve(&self, _hub: &HubHost, _now: Instant, wait: Duration) -> Duration {
        wait
    }

    /// The time of the wall clock. Files and tokens contain it, and the life of an issued certificate follows it. No
    /// other wait depends on it.
    fn wall(&self) -> SystemTime;

    /// A random number from 0 to 1.
    fn random(&self) -> f64;
}

/// Real connections.
pub(crate) struct RealNetwork {
    /// The clock of the program, in place of that of the system.
    clock: Option<WallClock>,
}

impl RealNetwork {
    /// Uses the clock of the system, unless the program has one of its own.
    pub(super) fn new(clock: Option<WallClock>) -> Self {
        Self { clock }
    }
}

impl fmt::Debug for RealNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RealNetwork")
    }
}

#[async_trait]
impl Network for RealNetwork {
    fn abilities(&self, kind: TransportKind) -> Abilities {
        match kind {
            #[cfg(any(feature = "mqtt", feature = "ws"))]
            TransportKind::Mqtt | TransportKind::MqttWs => hubward_mqtt::hub_abilities(),
            _ => Abilities::default(),
        }
    }

    async fn dps(&self, settings: &Settings, credential: &Credential) -> Result<Box<dyn DpsTransport>, SetupError> {
        let settings = settings.clone().credential(credential.clone());
        // The file of the certificate authorities is read.
        blocking(move || settings.build_dps_transport()).await
    }

    async fn hub(
        &self,
        settings: &Settings,
        identity: HubIdentity,
        credential: &Credential,
    ) -> Result<HubTarget, SetupError> {
        let hub = hub_settings(settings, identity, credential.clone());
        blocking(move || {
            let transport = hub.build_hub_transport()?;
            Ok(HubTarget::new(transport, hub.login(), hub.credential))
        })
        .await
    }

    async fn hub_with_issued(
        &self,
        settings: &Settings,
        identity: HubIdentity,
        certificate: &ClientCertificate,
    ) -> Result<HubTarget, SetupError> {
        let hub = hub_settings(settings, identity, certificate.clone().into());
        blocking(move || {
            let transport = hub.build_hub_transport_with_issued()?;
            Ok(HubTarget::new(transport, hub.login().certificate_requests(true), hub.credential))
        })
        .await
    }

    fn reserve(&self, hub: &HubHost, now: Instant, wait: Duration) -> Duration {
        static LIMITER: Mutex<ReconnectLimiter> = Mutex::new(ReconnectLimiter::new());
        LIMITER.lock().unwrap_or_else(PoisonError::into_inner).reserve(hub.as_str(), now, wait)
    }

    fn wall(&self) -> SystemTime {
        self.clock.as_ref().map_or_else(clock::now, |now| now())
    }

    fn random(&self) -> f64 {
        fastrand::f64()
    }
}

fn hub_settings(settings: &Settings, identity: HubIdentity, credential: Credential) -> HubSettings {
    let mut hub = HubSettings::new(identity, credential);
    hub.transport = settings.effective_hub_transport();
    hub.options = settings.options.clone();
    hub
}

/// Runs `work` on a thread for blocking work.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down. It drops this future.
            Err(_) => std::future::pending().await,
        },
    }
}
