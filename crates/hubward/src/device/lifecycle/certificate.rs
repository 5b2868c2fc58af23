//! The rules for a device whose certificate DPS and the hub issue. Such a device uses its credentials only for DPS, and
//! the issued certificate for the hub.

use std::time::{Duration, Instant};

use hubward_hub::HubFailure;

use super::failure::hub_retry_after;
use super::{Lifecycle, Next, Reason, remaining};

/// How an issued certificate changes the rules.
#[derive(Debug, Default)]
pub(super) struct CertificateUse {
    /// Whether the device uses an issued certificate at the hub. If the hub refuses it, another credential is of no use
    /// there.
    pub(super) is_used: bool,
    /// Whether the certificate has expired, so that only DPS can help.
    pub(super) is_lost: bool,
}

impl Lifecycle {
    /// Says whether the device uses an issued certificate at the hub.
    pub(crate) const fn use_certificate(&mut self, is_used: bool) {
        self.certificate.is_used = is_used;
    }

    /// The device starts without an issued certificate, but DPS may issue one. Call this in place of
    /// [`Lifecycle::on_started`]. If the registration fails and the device has an assignment, it tries its credentials
    /// at the hub.
    pub(crate) fn on_started_without_certificate(&mut self, has_assignment: bool, random: f64) -> Next {
        self.has_assignment = has_assignment;
        let credential = self.credentials.at_dps.current();
        let reason = if has_assignment { Reason::NoCertificate } else { Reason::NoAssignment };
        Next::Register { credential, after: self.first_wait(random), reason }
    }

    /// The device has to connect, and its certificate has expired. It registers until DPS has issued another
    /// certificate: it does not return to the hub.
    pub(crate) fn on_certificate_lost(&mut self, now: Instant, random: f64) -> Next {
        self.accepted_at = None;
        self.certificate.is_lost = true;
        let wait = remaining(self.dps.not_before, now).max(self.slow.remaining(now)).max(self.first_wait(random));
        self.register(wait, Reason::CertificateExpired)
    }

    /// Whether the device waits for DPS, because its certificate has expired.
    pub(crate) const fn has_lost_certificate(&self) -> bool {
        self.certificate.is_lost
    }

    /// The certificate is valid after all, because the wall clock was wrong. The device returns to its hub.
    pub(crate) fn on_certificate_found(&mut self, now: Instant) -> Next {
        self.certificate.is_lost = false;
        self.connect_or_register(now, Reason::Started, self.dps.not_before)
    }

    /// The certificate has expired while the device is connected. It registers once. If this fails, it stays connected.
    pub(crate) fn on_certificate_expired(&mut self, now: Instant) -> Next {
        let not_before = self.dps.not_before.max(self.dps.asked_until).max(self.slow.until());
        self.register(remaining(not_before, now), Reason::CertificateExpired)
    }

    /// The hub has issued another certificate: the device moves to it.
    pub(crate) fn on_certificate_renewed(&mut self, now: Instant) -> Next {
        self.connect_or_register(now, Reason::CertificateRenewed, self.dps.not_before)
    }

    /// The hub has refused a renewed certificate, or has failed too often with it. The device returns to the
    /// certificate before it. Call this in place of [`Lifecycle::on_hub_failed`].
    pub(crate) fn on_certificate_rolled_back(&mut self, now: Instant, failure: &HubFailure) -> Next {
        let asked = hub_retry_after(&failure.cause);
        self.hub.not_before = now.checked_add(asked);
        self.connect_or_register(now, Reason::CertificateRolledBack, self.dps.not_before)
    }

    /// The device has a hub, and may connect to it.
    pub(super) const fn can_use_hub(&self) -> bool {
        self.has_assignment && !self.certificate.is_lost
    }

    /// The step of a device that has not connected yet, if the lifecycle says that it stays with its hub.
    pub(crate) fn first_connect(&self, at_least: Duration, reason: Reason) -> Next {
        Next::Connect { credential: self.credentials.at_hub.current(), at_least, reason }
    }
}
