//! The issued certificate of the device: DPS issues the first one, and the hub the others. See `../issuance/`.

use std::sync::Arc;

use hubward_dps::Assignment;
use hubward_hub::HubFailure;
use hubward_proto::Csr;

use super::super::cache::CacheError;
use super::super::control::CertificateNews;
use super::super::event::{CertificateIssuer, DeviceEvent, one_line};
use super::super::issuance::{Issued, Keeper, NotIssued, Readiness, Verdict};
use super::super::lifecycle::{HubTrouble, Next, Reason};
use super::{Supervisor, now};

/// The name of the issued certificate in events.
const NAME: &str = "issued certificate";

/// A certificate request of a registration, and why there is none although the device wants a certificate.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) csr: Option<Csr>,
    pub(super) problem: Option<NotIssued>,
}

impl Supervisor {
    /// What the device knows about its issued certificate. `None` if the program wants none.
    pub(crate) fn keeper(&self) -> Option<Arc<Keeper>> {
        self.keeper.clone()
    }

    /// Reads the file of the certificates, and decides how the device starts.
    pub(super) async fn start_with_certificate(&mut self) -> Next {
        let random = self.network.random();
        let has_assignment = self.home.is_some();
        let Some(keeper) = self.keeper.clone() else { return self.lifecycle.on_started(now(), has_assignment, random) };
        let (readiness, set_aside) = keeper.open().await;
        if let Some(warning) = set_aside {
            self.control.report(&DeviceEvent::CacheSetAside(warning));
        }
        match readiness {
            Readiness::Lacking => self.lifecycle.on_started_without_certificate(has_assignment, random),
            Readiness::Expired if has_assignment => {
                let _start = self.lifecycle.on_started(now(), has_assignment, random);
                self.lifecycle.on_certificate_lost(now(), random)
            }
            _ => self.lifecycle.on_started(now(), has_assignment, random),
        }
    }

    /// The name of the credential with which the device connects to the hub, if the lifecycle chooses `credential`.
    pub(super) fn name_at_hub(&self, credential: usize) -> Arc<str> {
        match self.keeper.as_ref().and_then(|it| it.certificate()) {
            Some(_) => NAME.into(),
            None => self.credentials.name(credential),
        }
    }

    /// The name of the credential of the client's target.
    pub(super) fn name_in_use(&self) -> Arc<str> {
        if self.uses_certificate { NAME.into() } else { self.credentials.name(self.credential) }
    }

    /// Makes the certificate request of a registration. If the device continues an earlier operation, returns the
    /// request of this operation.
    pub(super) async fn order_certificate(&mut self) -> Order {
        let Some(keeper) = self.keeper.clone() else { return Order::default() };
        if self.operation.is_some() {
            if let Some(csr) = keeper.last_order() {
                return Order { csr: Some(csr), problem: None };
            }
            self.operation = None;
        }
        match keeper.order(self.settings.registration_id.as_str()).await {
            Ok(csr) => Order { csr: Some(csr), problem: None },
            Err(problem) => Order { csr: None, problem: Some(problem) },
        }
    }

    /// Stores the certificate that DPS has issued.
    pub(super) async fn take_certificate(&mut self, assignment: &Assignment, credential: Arc<str>, order: Order) {
        let Some(keeper) = self.keeper.clone() else { return };
        let issued = keeper.on_assigned(assignment.state.issued_certificate_chain.as_deref()).await;
        let event = match issued.map_err(|error| order.problem.unwrap_or(error)) {
            Ok(Issued { not_after, renews_in }) => {
                DeviceEvent::CertificateIssued { by: CertificateIssuer::Dps, not_after, renews_in }
            }
            Err(error) => DeviceEvent::CertificateNotIssued { credential, reason: one_line(&error) },
        };
        self.control.report(&event);
    }

    /// The hub has accepted the device with its certificate.
    pub(super) async fn keep_certificate(&mut self) {
        let Some(keeper) = self.keeper.clone().filter(|_| self.uses_certificate) else { return };
        if let Some((not_after, stored)) = keeper.on_accepted().await {
            self.control.report(&DeviceEvent::CertificateKept { not_after });
            self.report_storing(stored);
        }
    }

    /// A connection with the certificate has failed. Returns the next step, unless the usual rules apply.
    pub(super) async fn on_certificate_failed(&mut self, failure: &HubFailure) -> Option<Next> {
        let keeper = self.keeper.clone().filter(|_| self.uses_certificate)?;
        let is_refused = HubTrouble::of(&failure.cause) == HubTrouble::Refused;
        let failures_max = self.lifecycle.policy().trial_failures;
        match keeper.on_hub_failed(is_refused, failure.failures, failures_max).await {
            Verdict::Keep => None,
            Verdict::Expired => Some(self.lifecycle.on_certificate_lost(now(), self.network.random())),
            Verdict::RolledBack(stored) => {
                let next = self.lifecycle.on_certificate_rolled_back(now(), failure);
                let (reason, then) = (one_line(&failure.cause), self.step(&next));
                self.control.report(&DeviceEvent::CertificateRolledBack { reason, then });
                self.report_storing(stored);
                Some(next)
            }
        }
    }

    /// Reacts to news of the renewer.
    pub(super) fn on_certificate_news(&mut self, news: CertificateNews) -> Option<Next> {
        let keeper = self.keeper.clone()?;
        match news {
            CertificateNews::Renewed => Some(self.lifecycle.on_certificate_renewed(now())),
            CertificateNews::Expired if !keeper.is_expired() => {
                // The wall clock has been corrected.
                keeper.drop_request();
                None
            }
            CertificateNews::Expired => match self.lifecycle.on_certificate_expired(now()) {
                // The connection still works, so the device does not wait for DPS here. The renewer asks again.
                Next::Register { after, .. } if !after.is_zero() => {
                    keeper.on_registration_failed();
                    None
                }
                next => Some(next),
            },
        }
    }

    /// The device waits for DPS, because its certificate has expired. If the wall clock has been corrected meanwhile,
    /// returns the way back to the hub.
    pub(super) fn find_certificate(&mut self, reason: &Reason) -> Option<Next> {
        let is_valid = *reason != Reason::Requested && self.keeper.as_ref().is_some_and(|it| !it.is_expired());
        (is_valid && self.lifecycle.has_lost_certificate()).then(|| self.lifecycle.on_certificate_found(now()))
    }

    fn report_storing(&self, stored: Result<(), CacheError>) {
        if let Err(error) = stored {
            self.control.report(&DeviceEvent::CertificateNotStored(error));
        }
    }
}
