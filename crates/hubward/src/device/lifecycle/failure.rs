//! What a failure of a hub or of DPS means for a device.

use std::time::Duration;

use hubward_dps::ProvisionError;
use hubward_hub::DisconnectCause;

/// The meaning of a failure at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubTrouble {
    /// The failure probably passes by itself: the network, the hub, or a time limit.
    Transient,
    /// The hub asks the device to send less.
    Throttled,
    /// The hub does not accept the identity. It does not say whether the device is disabled, deleted or moved, or
    /// whether its credential has changed.
    Refused,
    /// The server at the address could not prove that it is the hub.
    UntrustedServer,
    /// The device's own credential provides no token or no signature.
    LocalCredential,
    /// Another client uses the same identity.
    DuplicateIdentity,
    /// No program listens at an address of this machine.
    NotListening,
    /// The client cannot send such a request, or the peer never accepts it.
    Request,
}

/// The meaning of a failed registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DpsTrouble {
    /// The failure probably passes by itself.
    Transient,
    /// DPS failed (status 5xx).
    Server,
    /// DPS asks the device to send less.
    Throttled,
    /// DPS does not accept the identity, or the enrollment does not assign a hub to it.
    Refused,
    /// The device's own credential provides no token or no signature.
    LocalCredential,
    /// No program listens at an address of this machine.
    NotListening,
}

impl HubTrouble {
    /// Returns the meaning of `cause`.
    pub(crate) fn of(_cause: &DisconnectCause) -> Self {
        todo!()
    }
}

impl DpsTrouble {
    /// Returns the meaning of `error`.
    pub(crate) fn of(_error: &ProvisionError) -> Self {
        todo!()
    }
}

/// Returns how long DPS asked to wait; `None` if it did not ask.
pub(super) fn retry_after(_error: &ProvisionError) -> Option<Duration> {
    todo!()
}
