//! Planted faults, to check that the simulation finds them.
//!
//! A planted fault is not in the lifecycle itself. It is in [`Subject`], a layer between the lifecycle and the
//! supervisor, and changes what the lifecycle returns.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use hubward_dps::ProvisionError;
use hubward_hub::{Backoff, HubFailure};

use super::super::lifecycle::{DevicePolicy, Lifecycle, Next, Reason};

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// After a refusal by the hub, the device registers twice.
    RegistersTwice,
    /// Ten failures are enough, however short.
    WindowIgnored,
    /// One failure is enough, if it comes 15 minutes after the first one.
    CountIgnored,
    /// After a failed registration, the device does not wait.
    RetryAfterIgnored,
    /// After a registration because of failures, the next failure registers again.
    CountsNotReset,
    /// After a refusal by the hub, the device tries the same credential again instead of the next one.
    CredentialOrder,
    /// The device keeps new credentials that fail.
    NeverRolledBack,
    /// Each wait of the slow schedule has the length of the first one.
    SlowScheduleConstant,
    /// A short connection starts the slow schedule over.
    SettledAtOnce,
    /// After a refusal, the device stays with its hub for ever.
    RefusalIgnored,
}

/// Plants a fault in all devices that this thread makes from now on.
pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// The lifecycle, and at most one planted fault. The methods below are those that a fault changes. All other methods
/// are the lifecycle's own, reached through `Deref`.
#[derive(Debug)]
pub(crate) struct Subject {
    it: Lifecycle,
    bug: Option<Bug>,
    /// [`Bug::RegistersTwice`] and [`Bug::CountsNotReset`]: why the last registration was made.
    last: Option<Reason>,
}

impl Subject {
    pub(crate) fn new(mut policy: DevicePolicy, credentials: usize, is_impatient: bool) -> Self {
        let bug = PLANTED.get();
        match bug {
            Some(Bug::WindowIgnored) => policy.hub_failing_for = Duration::ZERO,
            Some(Bug::CountIgnored) => policy.hub_failures = 2,
            Some(Bug::SettledAtOnce) => policy.settled_after = Duration::ZERO,
            Some(Bug::SlowScheduleConstant) => {
                policy.refused_wait = Backoff::new(policy.refused_wait.first, policy.refused_wait.first);
            }
            _ => {}
        }
        Self { it: Lifecycle::new(policy, credentials, is_impatient), bug, last: None }
    }

    pub(crate) fn on_hub_failed(&mut self, now: Instant, failure: &HubFailure, random: f64) -> Next {
        let before = self.last.clone();
        let next = self.it.on_hub_failed(now, failure, random);
        match (self.bug, next) {
            (Some(Bug::CredentialOrder), Next::Connect { credential, at_least, reason }) => {
                Next::Connect { credential: credential.saturating_sub(1), at_least, reason }
            }
            (Some(Bug::NeverRolledBack), Next::RollBack(_)) => {
                Next::Stay { at_least: Duration::ZERO, reason: Reason::CredentialsChanged }
            }
            (Some(Bug::RefusalIgnored), Next::Register { reason: Reason::HubRefuses, .. }) => {
                Next::Stay { at_least: Duration::from_secs(100_000), reason: Reason::HubRefuses }
            }
            (Some(Bug::CountsNotReset), Next::Stay { .. })
                if matches!(before, Some(Reason::HubFailsTooLong { .. })) =>
            {
                Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::HubRefuses }
            }
            (_, next) => self.note(next),
        }
    }

    pub(crate) fn on_assigned(&mut self, now: Instant, moved: bool) -> Next {
        let next = self.it.on_assigned(now, moved);
        match (self.bug, self.last.clone()) {
            (Some(Bug::RegistersTwice), Some(Reason::HubRefuses)) => {
                self.last = None;
                Next::Register { credential: 0, after: Duration::ZERO, reason: Reason::Requested }
            }
            _ => next,
        }
    }

    pub(crate) fn on_registration_failed(&mut self, now: Instant, error: &ProvisionError, random: f64) -> Next {
        let next = self.it.on_registration_failed(now, error, random);
        match (self.bug, next) {
            (Some(Bug::RetryAfterIgnored), Next::Register { credential, reason, .. }) => {
                Next::Register { credential, after: Duration::ZERO, reason }
            }
            (_, next) => self.note(next),
        }
    }

    fn note(&mut self, next: Next) -> Next {
        if let Next::Register { reason, .. } = &next {
            self.last = Some(reason.clone());
        }
        next
    }
}

impl Deref for Subject {
    type Target = Lifecycle;

    fn deref(&self) -> &Lifecycle {
        &self.it
    }
}

impl DerefMut for Subject {
    fn deref_mut(&mut self) -> &mut Lifecycle {
        &mut self.it
    }
}
