//! Decides when a device connects, registers, changes its credential, or waits. Pure: the time and the random numbers
//! are arguments.
//!
//! The supervisor passes each event to [`Lifecycle`], and does what the answer, [`Next`], says. This file contains the
//! rules. `failure.rs` says what a failure means, `slow.rs` contains the schedule of a refused device, and
//! `rotation.rs` the order of the credentials. `certificate.rs` contains the rules for a device with an issued
//! certificate, and `certificate_life/` says when the device renews the certificate.

mod certificate;
mod certificate_life;
mod failure;
mod policy;
mod rotation;
mod slow;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hubward_dps::ProvisionError;
use hubward_hub::HubFailure;
use hubward_proto::dps::RetryPolicy;

use certificate::CertificateUse;
pub(crate) use certificate_life::{CertificateLife, Due, RenewalPolicy, Validity};
pub use failure::{DpsTrouble, HubTrouble};
use failure::{dps_retry_after, hub_retry_after, is_final_at_hub};
pub use policy::DevicePolicy;
use rotation::Rotation;
use slow::{SlowSchedule, bound};
pub use step::Reason;
pub(crate) use step::{Accepted, Next, Request};

/// The longest wait of the policy. Every clock can represent a moment so far in the future.
const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Number of failed attempts after which an impatient device gives up, if no program listens at an address of this
/// machine.
const NOT_LISTENING_MAX: u32 = 2;

/// The state of a device between the events.
///
/// A credential is an index into the caller's list of credentials, which is in order of preference. While credentials
/// are on trial, an index is for the new list. [`Next::RollBack`] returns to the list before.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    policy: Arc<DevicePolicy>,
    /// Whether a failure before the first login ends the device, if no retry can change the failure.
    is_impatient: bool,
    has_assignment: bool,
    /// How an issued certificate changes the rules.
    certificate: CertificateUse,
    credentials: Credentials,
    trial: Option<Box<Trial>>,
    hub: HubFailures,
    dps: DpsFailures,
    slow: SlowSchedule,
    /// When the last registration ended that DPS accepted or refused. Registrations of a trial do not count.
    last_registration: Option<Instant>,
    /// When the hub accepted the device; `None` while the device is not connected.
    accepted_at: Option<Instant>,
}

/// A list of credentials, and which of them each service has refused.
#[derive(Debug, Clone)]
struct Credentials {
    /// The credential that a service has accepted last. A registration begins with it.
    preferred: usize,
    at_hub: Rotation,
    at_dps: Rotation,
    /// Whether the last registration failed without an answer about the credential. The next one continues with this
    /// credential, and the ones that DPS has refused are not tried again.
    is_unanswered: bool,
}

/// New credentials that no hub has accepted yet.
#[derive(Debug)]
struct Trial {
    /// The credentials before.
    before: Credentials,
    failures: u32,
    has_registered: bool,
}

/// The failures at the hub in a row that count for a registration.
#[derive(Debug, Default)]
struct HubFailures {
    count: u32,
    since: Option<Instant>,
    /// The end of the wait that the hub asked for.
    not_before: Option<Instant>,
}

/// The failed registrations in a row.
#[derive(Debug, Default)]
struct DpsFailures {
    count: u32,
    /// The end of the back-off.
    not_before: Option<Instant>,
    /// The end of the wait that DPS asked for, or that every client has to keep after a status of 5xx.
    asked_until: Option<Instant>,
}

impl Lifecycle {
    /// Creates the state of a device with this number of credentials (at least 1).
    ///
    /// `is_impatient` means that a failure before the first login ends the device, if no retry can change the failure.
    pub(crate) fn new(policy: DevicePolicy, credentials: usize, is_impatient: bool) -> Self {
        Self {
            policy: policy.shared(),
            is_impatient,
            has_assignment: false,
            certificate: CertificateUse::default(),
            credentials: Credentials::new(credentials),
            trial: None,
            hub: HubFailures::default(),
            dps: DpsFailures::default(),
            slow: SlowSchedule::default(),
            last_registration: None,
            accepted_at: None,
        }
    }

    /// The policy, with every number in its range.
    pub(crate) fn policy(&self) -> &DevicePolicy {
        &self.policy
    }

    /// How a registration that [`Next::Register`] asks for retries its requests: it repeats polls, but never the
    /// register request. The policy decides when the next register request is due.
    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::default().max_registrations(1)
    }

    /// Starts with this credential, because a service has accepted it last, according to the cache. Call this before
    /// [`Lifecycle::on_started`].
    pub(crate) fn prefer(&mut self, credential: usize) {
        if credential < self.credentials.count() {
            self.credentials.preferred = credential;
            self.credentials.at_hub.restart(credential);
            self.credentials.at_dps.restart(credential);
        }
    }

    /// The device starts. `has_assignment` is `true` if it knows its hub, for example from the cache. `random` is from
    /// 0 to 1, here and in the other methods.
    ///
    /// A device that knows its hub does not register. Source: `[doc]` iot-dps/concepts-deploy-at-scale.md.
    pub(crate) fn on_started(&mut self, _now: Instant, has_assignment: bool, random: f64) -> Next {
        self.has_assignment = has_assignment;
        let wait = self.first_wait(random);
        if has_assignment {
            Next::Connect { credential: self.credentials.at_hub.current(), at_least: wait, reason: Reason::Started }
        } else {
            Next::Register { credential: self.credentials.at_dps.current(), after: wait, reason: Reason::NoAssignment }
        }
    }

    /// The hub has accepted the device.
    pub(crate) fn on_accepted(&mut self, now: Instant) -> Accepted {
        self.accepted_at = Some(now);
        self.is_impatient = false;
        self.hub.not_before = None;
        self.credentials.preferred = self.credentials.at_hub.current();
        match self.trial.take() {
            Some(_) => Accepted::KeepCredentials,
            None => Accepted::AsBefore,
        }
    }

    /// A connection, or an attempt to connect, has failed.
    pub(crate) fn on_hub_failed(&mut self, now: Instant, failure: &HubFailure, random: f64) -> Next {
        self.accepted_at = None;
        if failure.accepted_for.is_some_and(|it| it >= self.policy.settled_after) {
            self.on_settled();
        }
        if failure.failures <= 1 {
            // The hub had accepted the device for a while, or the device has another hub or credential.
            self.hub.count = 0;
        }
        let trouble = HubTrouble::of(&failure.cause);
        let asked = hub_retry_after(&failure.cause);
        self.hub.not_before = now.checked_add(asked);
        let is_credential = matches!(trouble, HubTrouble::Refused | HubTrouble::LocalCredential);
        if is_credential && !self.certificate.is_used {
            if let Some(credential) = self.credentials.at_hub.refuse() {
                let at_least = asked.max(self.next_wait(random));
                return Next::Connect { credential, at_least, reason: Reason::NextCredentialAtHub };
            }
            self.credentials.at_hub.forget_refusals();
        }
        let stay = Next::Stay { at_least: asked, reason: Reason::HubTrouble(trouble) };
        if self.trial.is_some() {
            return self.on_hub_failed_in_trial(now, trouble).unwrap_or(stay);
        }
        if self.is_impatient && self.is_reason_to_give_up(trouble, failure) {
            return self.give_up(now, trouble, random);
        }
        match trouble {
            HubTrouble::Refused => self.on_refused_by_hub(now, random),
            trouble if trouble.counts_for_registration() => self.on_counted_failure(now, random).unwrap_or(stay),
            _ => stay,
        }
    }

    /// DPS has assigned the device to a hub. `moved` is `true` if the device had another hub before, or none.
    pub(crate) fn on_assigned(&mut self, now: Instant, moved: bool) -> Next {
        self.on_registration_ended(now);
        self.has_assignment = true;
        self.certificate.is_lost = false;
        self.accepted_at = None;
        let not_before = if moved { None } else { self.hub.not_before };
        self.hub = HubFailures { not_before, ..HubFailures::default() };
        self.dps = DpsFailures::default();
        let credential = self.credentials.at_dps.current();
        self.credentials.is_unanswered = false;
        self.credentials.preferred = credential;
        self.credentials.at_hub.restart(credential);
        Next::Connect { credential, at_least: remaining(not_before, now), reason: Reason::Assigned { moved } }
    }

    /// The caller cannot make a connection to the hub with the credential that [`Next::Connect`] named, for example
    /// because the certificate has expired. It has sent nothing.
    ///
    /// The answer is never [`Next::Stay`].
    pub(crate) fn on_unusable_at_hub(&mut self, now: Instant, random: f64) -> Next {
        if let Some(credential) = self.credentials.at_hub.refuse() {
            return Next::Connect { credential, at_least: Duration::ZERO, reason: Reason::NextCredentialAtHub };
        }
        self.credentials.at_hub.forget_refusals();
        if self.trial.is_some() {
            return self.roll_back(now, true);
        }
        if self.is_impatient {
            return Next::End;
        }
        let at_least = self.slow.step(now, &self.policy, random);
        let credential = self.credentials.at_hub.current();
        Next::Connect { credential, at_least, reason: Reason::SlowSchedule { step: self.slow.steps() } }
    }

    /// The caller cannot register with the credential that [`Next::Register`] named. It has sent nothing.
    pub(crate) fn on_unusable_at_dps(&mut self, now: Instant, random: f64) -> Next {
        self.on_refused_by_dps(now, DpsTrouble::LocalCredential, Duration::ZERO, random)
    }

    /// A registration has failed, after its own retries.
    pub(crate) fn on_registration_failed(&mut self, now: Instant, error: &ProvisionError, random: f64) -> Next {
        let trouble = DpsTrouble::of(error);
        let asked = dps_retry_after(error);
        if matches!(trouble, DpsTrouble::Refused | DpsTrouble::LocalCredential) {
            return self.on_refused_by_dps(now, trouble, asked, random);
        }
        let asked = match trouble {
            DpsTrouble::Server => asked.max(self.policy.server_error_wait),
            DpsTrouble::Throttled if asked.is_zero() => self.policy.server_error_wait,
            _ => asked,
        };
        self.dps.asked_until = now.checked_add(asked);
        let wait = self.registration_wait(asked, random);
        self.dps.count = self.dps.count.saturating_add(1);
        self.credentials.is_unanswered = true;
        self.dps.not_before = now.checked_add(wait);
        let can_use_hub = self.can_use_hub();
        if let Some(trial) = &mut self.trial {
            trial.failures = trial.failures.saturating_add(1);
            // A device that has a hub does not wait for DPS: it returns to the credentials that worked.
            if can_use_hub || trial.failures >= self.policy.trial_failures {
                return self.roll_back(now, false);
            }
        }
        let is_final = trouble == DpsTrouble::NotListening || !error.is_retryable();
        if self.is_impatient && is_final {
            return Next::End;
        }
        if can_use_hub {
            return Next::Stay { at_least: Duration::ZERO, reason: Reason::BackToHub(trouble) };
        }
        let credential = self.credentials.at_dps.current();
        Next::Register { credential, after: wait, reason: Reason::RegisterAgain(trouble) }
    }

    /// The program or an operator asks for something. The caller may ask at any time, also while it waits for a step.
    /// The answer then replaces this step.
    pub(crate) fn on_requested(&mut self, now: Instant, request: Request) -> Next {
        if self.accepted_at.is_some_and(|it| now.saturating_duration_since(it) >= self.policy.settled_after) {
            self.on_settled();
        }
        match request {
            Request::Register => self.register(remaining(self.dps.asked_until, now), Reason::Requested),
            Request::ChangeCredentials { count } => {
                let before = std::mem::replace(&mut self.credentials, Credentials::new(count));
                // During a trial, the credentials before are the ones that the device had before this trial.
                let before = self.trial.take().map_or(before, |it| it.before);
                // A device with an issued certificate uses its credentials for DPS only.
                let at_dps = !self.can_use_hub() || self.certificate.is_used;
                self.trial = Some(Box::new(Trial { before, failures: 0, has_registered: at_dps }));
                match at_dps {
                    true => self.register(remaining(self.dps.asked_until, now), Reason::CredentialsChanged),
                    false => self.connect_or_register(now, Reason::CredentialsChanged, self.dps.asked_until),
                }
            }
        }
    }

    /// The hub has accepted the device for long enough: earlier refusals say nothing about it any more.
    fn on_settled(&mut self) {
        self.slow.reset();
        self.credentials.at_hub.forget_refusals();
    }

    /// The hub has refused every credential.
    ///
    /// The hub gives the same answer to a device that is disabled, deleted, moved, or has a new certificate, and only
    /// DPS knows which. Source: `[doc]` iot-dps/concepts-deploy-at-scale.md, "Reprovisioning devices", and
    /// iot-dps/how-to-roll-certificates.md.
    fn on_refused_by_hub(&mut self, now: Instant, random: f64) -> Next {
        let slow = self.slow.on_hub_refused(now, self.last_registration, &self.policy, random);
        let (wait, reason) = match slow {
            None => (self.first_wait(random), Reason::HubRefuses),
            Some(wait) => (wait, Reason::SlowSchedule { step: self.slow.steps() }),
        };
        self.register(wait.max(remaining(self.dps.not_before, now)), reason)
    }

    /// Counts a failure. Returns a step if the hub has failed often enough and for long enough.
    ///
    /// Source: `[doc]` iot/concepts-manage-device-reconnections.md for the number, and
    /// iot-dps/concepts-deploy-at-scale.md for the time.
    fn on_counted_failure(&mut self, now: Instant, random: f64) -> Option<Next> {
        if self.hub.count == 0 {
            self.hub.since = Some(now);
        }
        self.hub.count = self.hub.count.saturating_add(1);
        let lasting = self.hub.since.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        let is_enough = self.hub.count >= self.policy.hub_failures && lasting >= self.policy.hub_failing_for;
        let may_register = remaining(self.dps.not_before, now).is_zero() && self.slow.remaining(now).is_zero();
        (is_enough && may_register).then(|| {
            let reason = Reason::HubFailsTooLong { failures: self.hub.count, lasting };
            self.register(self.first_wait(random), reason)
        })
    }

    /// The hub fails while new credentials are on trial. Returns `None` if the trial goes on at the hub.
    fn on_hub_failed_in_trial(&mut self, now: Instant, trouble: HubTrouble) -> Option<Next> {
        let trial = self.trial.as_mut()?;
        match trouble {
            HubTrouble::Refused if !trial.has_registered && remaining(self.dps.not_before, now).is_zero() => {
                // DPS tells the hub about a new certificate of an individual enrollment only when the device registers.
                trial.has_registered = true;
                Some(self.register(Duration::ZERO, Reason::HubRefuses))
            }
            HubTrouble::Refused | HubTrouble::LocalCredential => Some(self.roll_back(now, true)),
            _ => {
                trial.failures = trial.failures.saturating_add(1);
                (trial.failures >= self.policy.trial_failures).then(|| self.roll_back(now, false))
            }
        }
    }

    /// DPS has refused the credential in use.
    fn on_refused_by_dps(&mut self, now: Instant, trouble: DpsTrouble, asked: Duration, random: f64) -> Next {
        if trouble == DpsTrouble::Refused {
            self.on_registration_ended(now);
        }
        let until = now.checked_add(asked);
        self.dps = DpsFailures { asked_until: until, not_before: until, count: self.dps.count };
        self.credentials.is_unanswered = false;
        if let Some(credential) = self.credentials.at_dps.refuse() {
            let after = asked.max(self.next_wait(random));
            return Next::Register { credential, after, reason: Reason::NextCredentialAtDps };
        }
        self.credentials.at_dps.forget_refusals();
        if self.trial.is_some() {
            return self.roll_back(now, true);
        }
        if self.is_impatient {
            return Next::End;
        }
        let wait = self.slow.step(now, &self.policy, random).max(asked);
        if self.can_use_hub() {
            return Next::Stay { at_least: Duration::ZERO, reason: Reason::BackToHub(trouble) };
        }
        self.register(wait, Reason::SlowSchedule { step: self.slow.steps() })
    }

    /// Drops the credentials that are on trial.
    fn roll_back(&mut self, now: Instant, is_refused: bool) -> Next {
        if let Some(trial) = self.trial.take() {
            self.credentials = trial.before;
        }
        let credential = self.credentials.at_hub.current();
        self.credentials.at_hub.restart(credential);
        let not_before = self.dps.not_before.max(self.slow.until());
        let next = self.connect_or_register(now, Reason::TrialFailed { is_refused }, not_before);
        Next::RollBack(Box::new(next))
    }

    /// Connects to the hub, or registers if the device has no hub.
    fn connect_or_register(&mut self, now: Instant, reason: Reason, dps_not_before: Option<Instant>) -> Next {
        if self.can_use_hub() {
            self.accepted_at = None;
            let (credential, at_least) = (self.credentials.at_hub.current(), remaining(self.hub.not_before, now));
            Next::Connect { credential, at_least, reason }
        } else {
            self.register(remaining(dps_not_before, now), reason)
        }
    }

    /// Begins a registration with the credential that a service has accepted last, or continues the last one.
    fn register(&mut self, after: Duration, reason: Reason) -> Next {
        if !self.credentials.is_unanswered || reason == Reason::Requested {
            self.credentials.at_dps.restart(self.credentials.preferred);
            self.credentials.is_unanswered = false;
        }
        let credential = self.credentials.at_dps.current();
        Next::Register { credential, after, reason }
    }

    /// Whether this failure ends an impatient device.
    fn is_reason_to_give_up(&self, trouble: HubTrouble, failure: &HubFailure) -> bool {
        match trouble {
            HubTrouble::NotListening => failure.failures >= NOT_LISTENING_MAX,
            _ => is_final_at_hub(&failure.cause),
        }
    }

    /// Ends the device, unless a registration can help: the assignment may be old.
    fn give_up(&mut self, now: Instant, trouble: HubTrouble, random: f64) -> Next {
        let is_about_identity = !matches!(trouble, HubTrouble::Request | HubTrouble::LocalCredential);
        if self.last_registration.is_some() || !is_about_identity {
            return Next::End;
        }
        let wait = self.first_wait(random).max(remaining(self.dps.not_before, now));
        self.register(wait, Reason::HubUnusable(trouble))
    }

    /// DPS has accepted or refused a registration.
    fn on_registration_ended(&mut self, now: Instant) {
        if self.trial.is_none() {
            self.last_registration = Some(now);
        }
    }

    /// Returns the wait before the first attempt of a device, if the devices of its fleet try at the same time.
    fn first_wait(&self, random: f64) -> Duration {
        self.policy.pacing.map_or(Duration::ZERO, |it| it.wait(random))
    }

    /// Returns the wait before the next attempt of a device of a fleet.
    fn next_wait(&self, random: f64) -> Duration {
        self.policy.pacing.map_or(Duration::ZERO, |it| it.wait_again(random))
    }

    /// Returns the wait after a failed registration, which is at least `asked`.
    fn registration_wait(&self, asked: Duration, random: f64) -> Duration {
        let half = bound(self.policy.registration_wait, self.dps.count) / 2;
        let backoff = half + half.mul_f64(random);
        // Devices that got the same Retry-After do not all try again at the same moment.
        let asked = if asked.is_zero() { asked } else { asked + self.policy.registration_wait.first.mul_f64(random) };
        backoff.max(asked).max(self.next_wait(random))
    }
}

impl Credentials {
    fn new(count: usize) -> Self {
        Self { preferred: 0, at_hub: Rotation::new(count), at_dps: Rotation::new(count), is_unanswered: false }
    }

    fn count(&self) -> usize {
        self.at_hub.count()
    }
}

/// Returns the time from `now` to `moment`; zero if there is none, or it has passed.
fn remaining(moment: Option<Instant>, now: Instant) -> Duration {
    moment.map_or(Duration::ZERO, |it| it.saturating_duration_since(now))
}
