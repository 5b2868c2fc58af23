//! The registration flow as a pure state machine: register, poll, wait, try again, end.
//!
//! A driver asks [`Registration::step`] what to do, does it, and tells the outcome with
//! [`Registration::on_reply`]. No clock, no socket, no randomness of its own.

use std::time::{Duration, Instant};

use crate::dps::{AssignmentStatus, DpsBody, DpsReply, RegistrationOperation, RegistrationState};
use crate::hub::HubIdentity;
use crate::retry_after::LONGEST;
use crate::{DeviceId, Excerpt, HubHost, OperationId, ProtoError, limits};

/// One registration, from the first request to its end.
#[derive(Debug)]
pub struct Registration {
    policy: RetryPolicy,
    deadline: Option<Instant>,
    operation: Option<OperationId>,
    state: State,
    /// Refusals and losses in a row; a good answer ends the row.
    failures: u32,
    /// How often the service forgot an operation, and the device registered anew.
    forgotten: u32,
    /// Logins in a row that the service refused as unavailable.
    unavailable: u32,
}

#[derive(Debug)]
enum State {
    Ready { not_before: Option<Instant> },
    Ended(RegistrationEnd),
}

/// What the driver is to do now.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Send the registration, then call [`Registration::on_reply`].
    Register,
    /// Ask how this operation is doing, then call [`Registration::on_reply`].
    Poll(OperationId),
    /// Ask again at this moment.
    WaitUntil(Instant),
    /// There is nothing left to do.
    End(RegistrationEnd),
}

/// How a registration ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RegistrationEnd {
    /// The device has a hub.
    Assigned(Box<Assignment>),
    /// The service said `failed` or `disabled`.
    Rejected {
        /// Which of the two.
        status: AssignmentStatus,
        /// The service's record, with error code and message if it gave them.
        state: Box<RegistrationState>,
    },
    /// The last failure is final: not worth repeating, or too many in a row, or no time left.
    GaveUp {
        /// How many failures in a row.
        failures: u32,
        /// Whether another attempt was due, but only after the deadline.
        out_of_time: bool,
    },
    /// The deadline passed, or the service asked to wait beyond it, while it was still assigning.
    Deadline,
    /// The service's answer contradicts the protocol.
    Broken(ProtoError),
}

/// What DPS assigned.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Assignment {
    /// The hub.
    pub hub: HubHost,
    /// The device's id there; may differ from the registration id.
    pub device_id: DeviceId,
    /// The service's whole record: substatus, payload, etag, times.
    pub state: RegistrationState,
}

impl Assignment {
    /// Who the device is at its hub: what topics, user name and tokens there are built from.
    #[must_use]
    pub fn identity(&self) -> HubIdentity {
        HubIdentity::new(self.hub.clone(), self.device_id.clone())
    }
}

/// The plain view of a transport error that the flow decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// How long the service asked to wait, if it did.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of a kind, with the wait the service asked for.
    #[must_use]
    pub const fn new(kind: FailureKind, retry_after: Option<Duration>) -> Self {
        Self { kind, retry_after }
    }
}

/// The kinds of failures that the flow tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// No answer: connection refused, cut, timed out. The operation may well go on.
    Network,
    /// The service asks to slow down.
    Throttled,
    /// The service has trouble (5xx).
    Server,
    /// The service refuses the login as unavailable (CONNACK 3). DPS refuses a foreign ID scope in the
    /// same way, so this cannot be retried for long.
    ///
    /// Source: `[seen]` a Microsoft engineer in Azure/azure-iot-sdk-python, issue 670.
    Unavailable,
    /// The service does not know the operation it was asked about.
    OperationUnknown,
    /// Asking again cannot help.
    Final,
}

/// How often and how long to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Most failures in a row; the one after gives up.
    pub max_failures: u32,
    /// The first wait, doubled each time; the actual wait is a random share of it.
    pub first_wait: Duration,
    /// The wait stops growing here.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_failures: 10, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(60) }
    }
}

impl RetryPolicy {
    /// Sets [`RetryPolicy::max_failures`]; 0 tries once.
    #[must_use]
    pub const fn max_failures(mut self, max_failures: u32) -> Self {
        self.max_failures = max_failures;
        self
    }

    /// Sets [`RetryPolicy::first_wait`].
    #[must_use]
    pub const fn first_wait(mut self, first_wait: Duration) -> Self {
        self.first_wait = first_wait;
        self
    }

    /// Sets [`RetryPolicy::longest_wait`].
    #[must_use]
    pub const fn longest_wait(mut self, longest_wait: Duration) -> Self {
        self.longest_wait = longest_wait;
        self
    }
}

impl Registration {
    /// A new registration. `deadline` bounds all of it: requests, waits and retries.
    #[must_use]
    pub const fn new(policy: RetryPolicy, deadline: Option<Instant>) -> Self {
        Self { policy, deadline, operation: None, state: State::Ready { not_before: None }, failures: 0, forgotten: 0, unavailable: 0 }
    }

    /// Continues an operation that was begun earlier instead of registering (registrations are
    /// billed, polls are not).
    #[must_use]
    pub fn resume(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }

    /// The operation that runs, once the service named it.
    #[must_use]
    pub const fn operation(&self) -> Option<&OperationId> {
        self.operation.as_ref()
    }

    /// What to do at `now`. Call it again after doing it.
    #[must_use]
    pub fn step(&mut self, now: Instant) -> Step {
        let not_before = match &self.state {
            State::Ended(end) => return Step::End(end.clone()),
            State::Ready { not_before } => *not_before,
        };
        if self.deadline.is_some_and(|it| it <= now) {
            return Step::End(self.end(RegistrationEnd::Deadline));
        }
        match (not_before, &self.operation) {
            (Some(moment), _) if moment > now => Step::WaitUntil(moment),
            (_, Some(operation)) => Step::Poll(operation.clone()),
            (_, None) => Step::Register,
        }
    }

    /// Tells the outcome of a request. `jitter` is a random number from 0 up to 1; it spreads the
    /// retries of many devices.
    pub fn on_reply(&mut self, now: Instant, jitter: f64, reply: Result<&DpsReply, Failure>) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        match reply {
            Ok(DpsReply { body: DpsBody::Operation(operation), retry_after, status }) => {
                self.failures = 0;
                match (&operation.status, status) {
                    // The answer would stay the same until the deadline.
                    (AssignmentStatus::Unknown(word), Some(status)) if *status != DpsReply::ACCEPTED => {
                        let problem = ProtoError::UnknownStatus(Excerpt(word).to_string());
                        self.end(RegistrationEnd::Broken(problem));
                    }
                    _ => self.on_operation(now, operation, *retry_after),
                }
            }
            Ok(DpsReply { body: DpsBody::TpmChallenge(_), .. }) => {
                let unexpected = "the service sent a TPM challenge to a device that has a symmetric key";
                self.end(RegistrationEnd::Broken(ProtoError::Unexpected(unexpected.into())));
            }
            Err(failure) => self.on_failure(now, jitter, failure),
        }
    }

    fn on_operation(&mut self, now: Instant, operation: &RegistrationOperation, retry_after: Option<Duration>) {
        match &operation.status {
            AssignmentStatus::Assigned => {
                let end = match assignment(operation) {
                    Ok(assignment) => RegistrationEnd::Assigned(Box::new(assignment)),
                    Err(problem) => RegistrationEnd::Broken(problem),
                };
                self.end(end);
            }
            status @ (AssignmentStatus::Failed | AssignmentStatus::Disabled) => {
                let state = Box::new(operation.registration_state.clone().unwrap_or_default());
                self.end(RegistrationEnd::Rejected { status: status.clone(), state });
            }
            // `unassigned` was never seen in a trace; C# and Java treat it like `assigning`. A word that
            // this version does not know may be a new step of the same kind, unless the operation has
            // ended: if there is an operation to ask about, ask.
            AssignmentStatus::Assigning | AssignmentStatus::Unassigned | AssignmentStatus::Unknown(_) => {
                // "At once" is meant for the first poll; a loop of them would only burn the network.
                let least = if self.operation.is_some() { limits::POLL_FLOOR } else { Duration::ZERO };
                // A poll's answer may lack the id: the operation stays the one we asked about.
                if !operation.operation_id.is_empty() {
                    match OperationId::new(operation.operation_id.as_str()) {
                        Ok(id) => self.operation = Some(id),
                        Err(problem) => {
                            self.end(RegistrationEnd::Broken(problem));
                            return;
                        }
                    }
                }
                if self.operation.is_none() {
                    self.end(RegistrationEnd::Broken(ProtoError::Missing("operationId")));
                    return;
                }
                let next = now + retry_after.unwrap_or(limits::POLL_INTERVAL).clamp(least, LONGEST);
                if self.deadline.is_some_and(|it| it <= next) {
                    self.end(RegistrationEnd::Deadline);
                } else {
                    self.state = State::Ready { not_before: Some(next) };
                }
            }
        }
    }

    fn on_failure(&mut self, now: Instant, jitter: f64, failure: Failure) {
        self.failures += 1;
        let failures = self.failures;
        self.unavailable = if failure.kind == FailureKind::Unavailable { self.unavailable + 1 } else { 0 };
        let least = match failure.kind {
            FailureKind::Final => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            // Registrations are billed: a service that forgets them all is not asked for ever.
            FailureKind::OperationUnknown if self.forgotten == FORGOTTEN_MAX => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            FailureKind::OperationUnknown => {
                self.operation = None;
                self.forgotten += 1;
                Duration::ZERO
            }
            FailureKind::Unavailable if self.unavailable == UNAVAILABLE_MAX => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            FailureKind::Server | FailureKind::Unavailable => limits::SERVER_ERROR_WAIT,
            // A throttled request with no hint is as good as a server in trouble.
            FailureKind::Throttled if failure.retry_after.is_none() => limits::SERVER_ERROR_WAIT,
            FailureKind::Throttled | FailureKind::Network => Duration::ZERO,
        };
        if failures > self.policy.max_failures {
            self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
            return;
        }
        let spread = self.policy.wait_after(failures).mul_f64(jitter.clamp(0.0, 1.0));
        let next = now + failure.retry_after.unwrap_or_default().min(LONGEST).max(least) + spread;
        if self.deadline.is_some_and(|it| it <= next) {
            self.end(RegistrationEnd::GaveUp { failures, out_of_time: true });
        } else {
            self.state = State::Ready { not_before: Some(next) };
        }
    }

    fn end(&mut self, end: RegistrationEnd) -> RegistrationEnd {
        self.state = State::Ended(end.clone());
        end
    }
}

impl RetryPolicy {
    /// The most to wait after this many failures in a row: doubling, up to the longest.
    fn wait_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.first_wait.saturating_mul(1 << doublings).min(self.longest_wait).min(LONGEST)
    }
}

/// How often a registration begins anew because the service does not know its operation.
///
/// Source: `[guess]`.
const FORGOTTEN_MAX: u32 = 3;

/// After this many logins in a row that the service refused as unavailable, the registration fails.
const UNAVAILABLE_MAX: u32 = 3;

/// The only connection profile we speak; absent means the same.
const CLASSIC: &str = "classic";

fn assignment(operation: &RegistrationOperation) -> Result<Assignment, ProtoError> {
    let state = operation.registration_state.clone().ok_or(ProtoError::Missing("registrationState"))?;
    if let Some(profile) = state.connection_profile.as_deref().filter(|it| *it != CLASSIC) {
        return Err(ProtoError::Unexpected(format!(
            "the hub speaks the connection profile `{}`, which hubward does not (it speaks `{CLASSIC}`)",
            Excerpt(profile)
        )));
    }
    let hub = state.assigned_hub.as_deref().ok_or(ProtoError::Missing("assignedHub"))?;
    let device_id = state.device_id.as_deref().ok_or(ProtoError::Missing("deviceId"))?;
    Ok(Assignment { hub: HubHost::new(hub)?, device_id: DeviceId::new(device_id)?, state })
}

#[cfg(test)]
mod tests;
