//! Carries out what the lifecycle decides: waits, registers, reads and writes the assignment cache, and tells the
//! client of the hub where to connect.
//!
//! These files have no rule of their own about when to do what. See `lifecycle/`. `registration.rs` makes one
//! registration, `requests.rs` takes the requests of the program, and `certificate.rs` uses the certificate that DPS
//! and the hub issue.

mod certificate;
mod registration;
mod requests;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hubward_hub::{CloseReason, DisconnectCause, HubDecision, HubEvent, HubFailure, HubProvider};
use hubward_proto::HubHost;
use hubward_proto::hub::HubIdentity;
use hubward_transport::{Abilities, TransportKind};
use tokio::time::{Instant, sleep};

use self::registration::Operation;
use self::requests::Trial;
use super::cache::{Binding, CachedAssignment};
use super::compact_settings::CompactSettings;
use super::control::{Approach, Control};
use super::credentials::Credentials;
use super::event::{DeviceEvent, DeviceStep, one_line};
use super::issuance::Keeper;
#[cfg(not(test))]
use super::lifecycle::Lifecycle;
use super::lifecycle::{Accepted, Next};
use super::network::Network;
use super::settings::DeviceSettings;
#[cfg(test)]
use super::simulation::Subject as Lifecycle;
use super::storage::Storage;
use crate::{ConnectError, Settings};

/// Decides for the client of one device. The client owns it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    settings: CompactSettings,
    cache_file: Option<PathBuf>,
    control: Arc<Control>,
    network: Arc<dyn Network>,
    storage: Box<dyn Storage>,
    /// The issued certificate, if the program wants one.
    keeper: Option<Arc<Keeper>>,
    lifecycle: Lifecycle,
    credentials: Credentials,
    /// New credentials that no hub has accepted yet. They are in `credentials` meanwhile.
    trial: Option<Trial>,
    /// The hub that DPS assigned.
    home: Option<CachedAssignment>,
    /// The credential of the client's target. With an issued certificate, the credential for DPS.
    credential: usize,
    /// Whether the client's target has the issued certificate.
    uses_certificate: bool,
    /// Whether the client has a target.
    has_target: bool,
    /// The hub that accepted the device last.
    last_hub: Option<HubHost>,
    /// Whether the hub has accepted the device since the last failure or move.
    is_accepted: bool,
    /// A registration that DPS was still working on when the device stopped asking.
    operation: Option<Operation>,
    /// Until the first login: when [`DeviceSettings::connect`] times out. `None` if the device never gives up.
    until: Option<Instant>,
    /// Number of failed registrations until the first login.
    attempts: u32,
}

impl Supervisor {
    /// `until` is the time at which a `connect` times out; `None` for a device that never gives up.
    pub(crate) fn new(
        settings: DeviceSettings,
        control: Arc<Control>,
        network: Box<dyn Network>,
        storage: Box<dyn Storage>,
        until: Option<Instant>,
    ) -> Self {
        let (credentials, network) = (settings.credentials(), Arc::from(network));
        let keeper = settings.certificate_issuance.as_ref().map(|issuance| {
            let Settings { dps_host, id_scope, registration_id, .. } = &settings.settings;
            let binding = Binding::new(dps_host, id_scope, registration_id, credentials.iter());
            Arc::new(Keeper::new(issuance, binding, Arc::clone(&network)))
        });
        Self {
            control,
            network,
            storage,
            keeper,
            lifecycle: Lifecycle::new(settings.policy, credentials.count(), until.is_some()),
            credentials,
            trial: None,
            home: None,
            credential: 0,
            uses_certificate: false,
            has_target: false,
            last_hub: None,
            is_accepted: false,
            operation: None,
            until,
            attempts: 0,
            settings: CompactSettings::new(settings.settings),
            cache_file: settings.cache,
        }
    }

    async fn on_started(&mut self) -> HubDecision {
        if self.home.is_none() {
            let (home, set_aside) = self.storage.open(self.binding(&self.credentials)).await;
            if let Some(warning) = set_aside {
                self.control.report(&DeviceEvent::CacheSetAside(warning));
            }
            if let (Some(home), Some(file)) = (&home, &self.cache_file) {
                let (hub, device_id) = (home.hub.clone(), home.device_id.clone());
                self.control.report(&DeviceEvent::CacheUsed { hub, device_id, file: file.clone() });
            }
            if let Some(credential) = home.as_ref().and_then(|it| it.credential) {
                self.lifecycle.prefer(credential);
            }
            self.home = home;
        }
        let next = self.start_with_certificate().await;
        self.follow(next).await
    }

    async fn on_accepted(&mut self) {
        self.until = None;
        // A later registration has to learn the present assignment, and not the result of an old operation.
        self.operation = None;
        self.control.set_approach(None);
        let Some(home) = self.home.clone() else { return };
        let accepted = self.lifecycle.on_accepted(now());
        if !std::mem::replace(&mut self.is_accepted, true) {
            let moved_from = self.last_hub.replace(home.hub.clone()).filter(|it| *it != home.hub);
            let credential = self.name_in_use();
            self.control.report(&DeviceEvent::Connected { hub: home.hub.clone(), credential, moved_from });
        }
        self.keep_certificate().await;
        let kept = if accepted == Accepted::KeepCredentials { self.trial.take() } else { None };
        if self.trial.is_none() && (kept.is_some() || home.credential != Some(self.credential)) {
            let credential = Some(self.credential);
            self.remember(CachedAssignment { credential, ..home }).await;
        }
        // The program may restart when it knows that the new credentials are in use. The cache is written then.
        if let Some(trial) = kept {
            let credential = self.credentials.name(self.credential);
            self.control.report(&DeviceEvent::CredentialsKept { credential });
            trial.change.resolve(Ok(()));
        }
    }

    async fn on_failed(&mut self, failure: HubFailure) -> HubDecision {
        if failure.accepted_for.is_some() && !self.is_accepted {
            // The client passes on only the newest event, and so may have left out the acceptance.
            self.on_accepted().await;
        }
        self.is_accepted = false;
        let Some(hub) = self.home.as_ref().map(|it| it.hub.clone()) else { return self.on_started().await };
        let credential = self.name_in_use();
        let next = match self.on_certificate_failed(&failure).await {
            Some(next) => next,
            None => self.lifecycle.on_hub_failed(now(), &failure, self.network.random()),
        };
        let HubFailure { cause, failures, wait, .. } = failure;
        let next_try = Instant::now() + wait;
        let (next, rolled_back) = self.roll_back(next, || one_line(&cause));
        let then = self.step(&next);
        if next == Next::End
            && let DisconnectCause::Transport(error) = &cause
        {
            self.control.set_verdict(ConnectError::Hub(CloseReason::Refused(Arc::clone(error)).into()));
        }
        self.control.report(&DeviceEvent::HubFailed { hub, credential, cause, failures, then });
        self.report_rollback(rolled_back, &next);
        match self.follow(next).await {
            HubDecision::Stay { at_least } => {
                let wait = next_try.saturating_duration_since(Instant::now()).max(at_least);
                HubDecision::Stay { at_least: self.reserve(wait) }
            }
            decision => decision,
        }
    }

    /// Returns how long an attempt to connect has to wait. It waits at least for `wait`.
    fn reserve(&self, wait: Duration) -> Duration {
        match &self.home {
            Some(home) if self.lifecycle.policy().limits_reconnects => self.network.reserve(&home.hub, now(), wait),
            _ => wait,
        }
    }

    /// Does what the lifecycle says, until there is something for the client to do.
    async fn follow(&mut self, mut next: Next) -> HubDecision {
        // Whether no connection could be made with the credential of the last step.
        let mut is_unusable = false;
        loop {
            next = match next {
                // The client waits before it uses a target. Without a target, the supervisor has to wait.
                Next::Connect { credential, at_least, reason } if is_unusable => {
                    is_unusable = false;
                    let then = Next::Connect { credential, at_least: Duration::ZERO, reason };
                    self.wait(at_least).await.unwrap_or(then)
                }
                // The registration of a device that knows its hub has failed before the device has connected.
                Next::Stay { at_least, reason } if !self.has_target && self.home.is_some() => {
                    self.lifecycle.first_connect(at_least, reason)
                }
                Next::Stay { at_least, .. } => return HubDecision::Stay { at_least },
                Next::Connect { credential, at_least, .. } => match self.connect(credential, at_least).await {
                    Ok(decision) => return decision,
                    Err(next) => {
                        is_unusable = true;
                        next
                    }
                },
                Next::Register { credential, after, reason } => match self.wait(after).await {
                    None => match self.find_certificate(&reason) {
                        None => self.register(credential, reason).await,
                        Some(next) => next,
                    },
                    Some(other) => other,
                },
                // Only an answer to a failure contains a rollback, and `roll_back` has taken it.
                Next::RollBack(next) => *next,
                Next::End => return HubDecision::End(Arc::new(Ended)),
            };
        }
    }

    /// Waits. Returns another step if the program or an operator asks for one meanwhile.
    async fn wait(&mut self, time: Duration) -> Option<Next> {
        if time.is_zero() {
            return None;
        }
        if self.until.is_some_and(|it| Instant::now() + time >= it) {
            // The reason is in the verdict, if there was a failure.
            return Some(self.time_out().await);
        }
        let control = Arc::clone(&self.control);
        let asleep = sleep(time);
        tokio::pin!(asleep);
        loop {
            tokio::select! {
                () = &mut asleep => return None,
                () = control.requested() => if let Some(next) = self.on_requests() {
                    return Some(next);
                },
            }
        }
    }

    /// The time of `connect` is over, or does not last until the next attempt. If there is a failure to report, ends at
    /// once; otherwise at the time at which `connect` returns its own error.
    async fn time_out(&mut self) -> Next {
        if !self.control.has_run_out_of_time() {
            pending::<()>().await;
        }
        Next::End
    }

    async fn connect(&mut self, credential: usize, at_least: Duration) -> Result<HubDecision, Next> {
        let Some(home) = &self.home else { return Err(self.lifecycle.on_started(now(), false, self.network.random())) };
        let identity = HubIdentity::new(home.hub.clone(), home.device_id.clone());
        let certificate = self.keeper.as_ref().and_then(|it| it.certificate());
        let key = self.credentials.get(credential);
        let settings = self.settings.expand(key);
        let target = match &certificate {
            Some(certificate) => self.network.hub_with_issued(&settings, identity, certificate).await,
            None => self.network.hub(&settings, identity, key).await,
        };
        match target {
            Ok(target) => {
                self.credential = credential;
                (self.uses_certificate, self.has_target) = (certificate.is_some(), true);
                self.lifecycle.use_certificate(self.uses_certificate);
                self.is_accepted = false;
                if self.until.is_some() {
                    let (hub, transport) = (home.hub.clone(), Arc::clone(&target.transport));
                    self.control.set_approach(Some(Approach { hub, transport, since: Instant::now() }));
                }
                let at_least = self.reserve(at_least);
                Ok(HubDecision::Connect { target: Box::new(target), at_least })
            }
            Err(error) => {
                let name = self.name_at_hub(credential);
                let next = self.lifecycle.on_unusable_at_hub(now(), self.network.random());
                Err(self.on_unusable(name, error, next))
            }
        }
    }

    /// Keeps the error that `connect` returns if it ends now.
    fn set_verdict(&self, error: ConnectError) {
        if self.until.is_some() {
            self.control.set_verdict(error);
        }
    }

    async fn remember(&mut self, home: CachedAssignment) {
        // Until a hub has accepted new credentials, the file belongs to the credentials before them.
        let credentials = self.trial.as_ref().map_or(&self.credentials, |it| &it.before);
        let binding = self.binding(credentials);
        self.home = Some(home.clone());
        if let Err(error) = self.storage.store(binding, home).await {
            self.control.report(&DeviceEvent::CacheNotWritten(error));
        }
    }

    fn binding(&self, credentials: &Credentials) -> Binding {
        let CompactSettings { dps_host, id_scope, registration_id, .. } = &self.settings;
        Binding::new(dps_host, id_scope, registration_id, credentials.iter())
    }

    /// A step in the words of an event.
    fn step(&self, next: &Next) -> DeviceStep {
        match next {
            Next::Stay { at_least, reason } => DeviceStep::Stay { at_least: *at_least, reason: reason.clone() },
            Next::Connect { credential, at_least, reason } => DeviceStep::Connect {
                credential: self.name_at_hub(*credential),
                after: *at_least,
                reason: reason.clone(),
            },
            Next::Register { credential, after, reason } => DeviceStep::Register {
                credential: self.credentials.name(*credential),
                after: *after,
                reason: reason.clone(),
            },
            Next::RollBack(next) => self.step(next),
            Next::End => DeviceStep::End,
        }
    }
}

#[async_trait]
impl HubProvider for Supervisor {
    fn kind(&self) -> TransportKind {
        self.settings.hub_transport
    }

    fn abilities(&self) -> Abilities {
        self.network.abilities(self.kind())
    }

    async fn decide(&mut self, event: HubEvent) -> HubDecision {
        match event {
            HubEvent::Started => self.on_started().await,
            HubEvent::Accepted => {
                self.on_accepted().await;
                HubDecision::STAY
            }
            HubEvent::Failed(failure) => self.on_failed(failure).await,
            HubEvent::Requested => match self.on_requests() {
                Some(next) => self.follow(next).await,
                None => HubDecision::STAY,
            },
            _ => HubDecision::STAY,
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.end();
        }
        self.control.end();
    }
}

/// The error of a client that its supervisor ends. `connect` replaces it with the reason.
#[derive(Debug, thiserror::Error)]
#[error("the device could not connect")]
struct Ended;

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
