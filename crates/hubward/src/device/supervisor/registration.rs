//! One registration: sends it, and passes its outcome to the lifecycle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hubward_dps::{Assignment, Progress, ProvisionError, Provisioner};
use hubward_proto::OperationId;
use hubward_transport::UnixSeconds;
use tokio::time::Instant;

use super::super::cache::CachedAssignment;
use super::super::event::{DeviceEvent, one_line};
use super::super::lifecycle::{Next, Reason};
use super::certificate::Order;
use super::{Supervisor, now};
use crate::ConnectError;
use crate::diagnosis::Diagnosis;
use crate::error::SetupError;

/// An operation of DPS whose end the device does not know. The device continues it, instead of paying for another
/// registration.
#[derive(Debug)]
pub(super) struct Operation {
    id: OperationId,
    credential: usize,
}

impl Supervisor {
    pub(super) async fn register(&mut self, credential: usize, reason: Reason) -> Next {
        let name = self.credentials.name(credential);
        let key = self.credentials.get(credential).clone();
        let settings = self.settings.expand(&key);
        let dps_host = settings.dps_host.clone();
        self.control.report(&DeviceEvent::Registering { dps_host, credential: name.clone(), reason: reason.clone() });
        let transport = match self.network.dps(&settings, &key).await {
            Ok(transport) => transport,
            Err(error) => {
                let next = self.lifecycle.on_unusable_at_dps(now(), self.network.random());
                return self.on_unusable(name, error, next);
            }
        };
        self.operation = self.operation.take().filter(|it| it.credential == credential && reason != Reason::Requested);
        let order = self.order_certificate().await;
        let mut request = settings.registration_request();
        request.csr.clone_from(&order.csr);
        let network = Arc::clone(&self.network);
        let running: Arc<Mutex<Option<OperationId>>> = Arc::default();
        let noted = Arc::clone(&running);
        let mut provisioner = Provisioner::new(transport, request, key)
            .clock(move || network.wall())
            .deadline(self.registration_time())
            .retry(self.lifecycle.retry_policy())
            .on_progress(move |progress| {
                if let Progress::Polling { operation } = progress {
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some((*operation).clone());
                }
            });
        if let Some(Operation { id, .. }) = self.operation.take() {
            provisioner = provisioner.resume(id);
        }
        match provisioner.run().await {
            Ok(assignment) => self.on_assigned(&assignment, credential, order).await,
            Err(error) => {
                if let Some(keeper) = &self.keeper {
                    keeper.on_registration_failed();
                }
                let id = running.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.operation = id.filter(|_| error.is_retryable()).map(|id| Operation { id, credential });
                self.on_registration_failed(name, error)
            }
        }
    }

    /// How long a registration may take.
    pub(super) fn registration_time(&self) -> Duration {
        let most = self.lifecycle.policy().registration_timeout;
        self.until.map_or(most, |it| it.saturating_duration_since(Instant::now()).min(most))
    }

    pub(super) async fn on_assigned(&mut self, assignment: &Assignment, credential: usize, order: Order) -> Next {
        let before = self.home.as_ref().map(|it| (it.hub.clone(), it.device_id.clone()));
        let moved = before.as_ref().is_none_or(|(hub, id)| *hub != assignment.hub || *id != assignment.device_id);
        self.control.report(&DeviceEvent::Assigned {
            hub: assignment.hub.clone(),
            device_id: assignment.device_id.clone(),
            moved_from: before.map(|(hub, _)| hub).filter(|it| *it != assignment.hub),
            substatus: assignment.state.substatus.clone(),
            payload: assignment.state.payload.clone(),
        });
        // The certificate is stored before the assignment: a device that knows its hub must not lack its certificate.
        self.take_certificate(assignment, self.credentials.name(credential), order).await;
        let at = UnixSeconds::from_system_time(self.network.wall());
        let credential = Some(credential).filter(|_| self.trial.is_none());
        self.remember(CachedAssignment::new(assignment, at, credential)).await;
        self.lifecycle.on_assigned(now(), moved)
    }

    pub(super) fn on_registration_failed(&mut self, credential: Arc<str>, mut error: ProvisionError) -> Next {
        if self.until.is_some()
            && let ProvisionError::Transport { attempts, .. } = &mut error
        {
            self.attempts = self.attempts.saturating_add(*attempts);
            *attempts = self.attempts;
        }
        let next = self.lifecycle.on_registration_failed(now(), &error, self.network.random());
        let text = one_line(&error);
        let (next, rolled_back) = self.roll_back(next, || text.clone());
        let (then, diagnosis) = (self.step(&next), Diagnosis::of_provision(&error));
        let event = DeviceEvent::RegistrationFailed { credential, error: text, diagnosis: Box::new(diagnosis), then };
        self.set_verdict(ConnectError::Provision(error));
        self.control.report(&event);
        self.report_rollback(rolled_back, &next);
        next
    }

    /// A transport cannot be built with this credential. `next` is the answer of the lifecycle.
    pub(super) fn on_unusable(&mut self, credential: Arc<str>, error: SetupError, next: Next) -> Next {
        let text = one_line(&error);
        let (next, rolled_back) = self.roll_back(next, || text.clone());
        let (then, diagnosis) = (self.step(&next), Box::new(error.diagnosis()));
        self.set_verdict(ConnectError::Setup(error));
        self.control.report(&DeviceEvent::CredentialUnusable { credential, error: text, diagnosis, then });
        self.report_rollback(rolled_back, &next);
        next
    }
}
