//! What the program and operators ask for: a registration, or other credentials, which are first on trial.

use std::time::Duration;

use super::super::control::{Change, CredentialChangeError, RegisterRequest, Requests};
use super::super::credentials::Credentials;
use super::super::event::DeviceEvent;
use super::super::lifecycle::{Next, Request};
use super::{Supervisor, now};

/// The wait between the call of the direct method and the registration, so that the response of the method leaves
/// before a possible move.
pub(super) const AFTER_METHOD: Duration = Duration::from_secs(1);

/// New credentials that no hub has accepted yet. The supervisor uses them meanwhile.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) change: Change,
    /// The credentials to which a rollback returns.
    pub(super) before: Credentials,
}

/// A return to the credentials before a trial.
#[derive(Debug)]
pub(super) struct Rollback {
    change: Change,
    reason: String,
}

impl Supervisor {
    /// Takes the requests of the program. Returns the next step, or `None` if there was no request.
    pub(super) fn on_requests(&mut self) -> Option<Next> {
        let Requests { register, change, certificate } = self.control.take_requests();
        let mut next = None;
        if let Some(change) = change {
            let count = change.credentials.count();
            let credentials = (0..count).map(|it| change.credentials.name(it)).collect();
            let new = change.credentials.clone();
            let before = match self.trial.take() {
                Some(Trial { change, before }) => {
                    change.resolve(Err(CredentialChangeError::Superseded));
                    before
                }
                None => self.credentials.clone(),
            };
            self.credentials = new;
            self.trial = Some(Trial { change, before });
            self.operation = None;
            let step = self.lifecycle.on_requested(now(), Request::ChangeCredentials { count });
            self.control.report(&DeviceEvent::CredentialsOnTrial { credentials, then: self.step(&step) });
            next = Some(step);
        }
        if let Some(reason) = register {
            let (method, least) = match reason {
                RegisterRequest::Program => (None, Duration::ZERO),
                RegisterRequest::Method(name) => (Some(name), AFTER_METHOD),
            };
            self.control.report(&DeviceEvent::ReprovisionRequested { method });
            let mut step = self.lifecycle.on_requested(now(), Request::Register);
            if let Next::Register { after, .. } = &mut step {
                *after = (*after).max(least);
            }
            next = Some(step);
        }
        // Each of the steps above uses or replaces the certificate, too.
        if next.is_none()
            && let Some(news) = certificate
        {
            next = self.on_certificate_news(news);
        }
        next
    }

    /// Returns to the credentials before a trial, if the step says so. Returns the step without the rollback.
    ///
    /// The caller passes the second value to [`Supervisor::report_rollback`] after its own event.
    pub(super) fn roll_back(&mut self, next: Next, reason: impl FnOnce() -> String) -> (Next, Option<Rollback>) {
        let Next::RollBack(next) = next else { return (next, None) };
        let Some(Trial { change, before }) = self.trial.take() else { return (*next, None) };
        self.credentials = before;
        self.operation = None;
        (*next, Some(Rollback { change, reason: reason() }))
    }

    /// Reports a rollback: first as an event, then to the program that waits for the outcome.
    pub(super) fn report_rollback(&self, rollback: Option<Rollback>, next: &Next) {
        let Some(Rollback { change, reason }) = rollback else { return };
        let then = self.step(next);
        self.control.report(&DeviceEvent::CredentialsRolledBack { reason: reason.clone(), then });
        change.resolve(Err(CredentialChangeError::RolledBack { reason }));
    }
}
