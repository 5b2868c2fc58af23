//! Decides when a device connects, registers, changes its credential, or waits. Pure: the time and the random numbers
//! are arguments.
//!
//! `supervisor.rs` passes each event to [`Lifecycle`] and does what the answer, [`Next`], says.

#![allow(dead_code, reason = "the supervisor that uses this module is not written yet")]

mod failure;
mod policy;
mod step;

use std::time::Instant;

use hubward_dps::ProvisionError;
use hubward_hub::HubFailure;
use hubward_proto::dps::RetryPolicy;

pub use failure::{DpsTrouble, HubTrouble};
pub use policy::DevicePolicy;
pub use step::Reason;
pub(crate) use step::{Accepted, Next, Request};

/// The state of a device between the events.
///
/// A credential is an index into the caller's list of credentials, which is in order of preference. While credentials
/// are on trial ([`Lifecycle::is_trial`]), an index is for the new list. [`Next::RollBack`] returns to the list before.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    policy: DevicePolicy,
    credentials: usize,
    is_impatient: bool,
}

impl Lifecycle {
    /// Creates the state of a device with this number of credentials (at least 1).
    ///
    /// `is_impatient` means that a failure before the first login ends the device, if no retry can change the failure.
    pub(crate) fn new(policy: DevicePolicy, credentials: usize, is_impatient: bool) -> Self {
        Self { policy, credentials, is_impatient }
    }

    /// The policy.
    pub(crate) fn policy(&self) -> &DevicePolicy {
        &self.policy
    }

    /// How a registration that [`Next::Register`] asks for retries its requests.
    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        todo!()
    }

    /// Whether new credentials are on trial.
    pub(crate) fn is_trial(&self) -> bool {
        todo!()
    }

    /// The device starts. `has_assignment` is `true` if it knows its hub, for example from the cache.
    pub(crate) fn on_started(&mut self, _now: Instant, _has_assignment: bool, _random: f64) -> Next {
        todo!()
    }

    /// The hub has accepted the device.
    pub(crate) fn on_accepted(&mut self, _now: Instant) -> Accepted {
        todo!()
    }

    /// A connection, or an attempt to connect, has failed.
    pub(crate) fn on_hub_failed(&mut self, _now: Instant, _failure: &HubFailure, _random: f64) -> Next {
        todo!()
    }

    /// DPS has assigned the device to a hub. `moved` is `true` if the device had another hub before, or none.
    pub(crate) fn on_assigned(&mut self, _now: Instant, _moved: bool, _random: f64) -> Next {
        todo!()
    }

    /// A registration has failed, after its own retries.
    pub(crate) fn on_registration_failed(&mut self, _now: Instant, _error: &ProvisionError, _random: f64) -> Next {
        todo!()
    }

    /// The program or an operator asks for something. The caller may ask at any time, also while it waits for a step.
    /// The answer then replaces this step.
    pub(crate) fn on_requested(&mut self, _now: Instant, _request: Request) -> Next {
        todo!()
    }
}
