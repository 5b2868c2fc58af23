//! What a device does next, and why.

use std::time::Duration;

use super::{DpsTrouble, HubTrouble};

/// The next step of a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// Stay with the hub and the credential. The client connects again after its usual back-off, and not before
    /// `at_least` has passed.
    Stay {
        /// The minimum wait.
        at_least: Duration,
        /// Why.
        reason: Reason,
    },
    /// Connect to the assigned hub with this credential.
    Connect {
        /// The credential.
        credential: usize,
        /// The minimum wait.
        at_least: Duration,
        /// Why.
        reason: Reason,
    },
    /// Wait, then register once with this credential, and report the result.
    Register {
        /// The credential.
        credential: usize,
        /// The wait.
        after: Duration,
        /// Why.
        reason: Reason,
    },
    /// The new credentials have failed. Drop them, return to the credentials before them, then take the inner step. It
    /// is [`Next::Connect`] or [`Next::Register`].
    RollBack(Box<Self>),
    /// End the device with the error that was passed in: no retry can change it.
    End,
}

/// Why a device takes a step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The device starts, and knows its hub.
    Started,
    /// The device starts, and has no hub.
    NoAssignment,
    /// DPS has assigned the device to a hub; `moved` if it is another hub than before.
    Assigned {
        /// Whether the device had another hub before, or none.
        moved: bool,
    },
    /// The hub failed, but not often or long enough to register.
    HubTrouble(HubTrouble),
    /// The hub has failed too often and for too long.
    HubFailsTooLong {
        /// The number of failures in a row.
        failures: u32,
        /// The time since the first of them.
        lasting: Duration,
    },
    /// The hub has refused a credential, and there is another one.
    NextCredentialAtHub,
    /// The hub has refused every credential.
    HubRefuses,
    /// DPS has refused a credential, and there is another one.
    NextCredentialAtDps,
    /// The hub, DPS or both still refuse the device. This is step number `step` of the slow schedule, from 1.
    SlowSchedule {
        /// The number of the step.
        step: u32,
    },
    /// A registration failed. The device has a hub, and returns to it.
    BackToHub(DpsTrouble),
    /// A registration failed, and the device has no hub: it registers again.
    RegisterAgain(DpsTrouble),
    /// The program or an operator has asked for a registration.
    Requested,
    /// `connect` cannot use the known hub, so the device asks DPS before it gives up.
    HubUnusable(HubTrouble),
    /// The program has changed the credentials.
    CredentialsChanged,
    /// The device has no issued certificate yet, and DPS may issue one. Or it has none any more.
    NoCertificate,
    /// The issued certificate has expired. DPS may issue another one.
    CertificateExpired,
    /// The hub has issued another certificate.
    CertificateRenewed,
    /// The hub has not accepted the renewed certificate.
    CertificateRolledBack,
    /// The new credentials have failed.
    TrialFailed {
        /// Whether a service refused them, or the device itself could not use them. Otherwise, too many attempts failed
        /// for other reasons.
        is_refused: bool,
    },
}

/// What the acceptance by a hub means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Nothing new.
    AsBefore,
    /// The hub has accepted the new credentials: the trial has ended, keep them.
    KeepCredentials,
}

/// What a program or an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Register now.
    Register,
    /// Use new credentials, on trial.
    ChangeCredentials {
        /// The number of new credentials (at least 1).
        count: usize,
    },
}
