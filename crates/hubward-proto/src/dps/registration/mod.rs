//! The registration flow as a pure state machine: register, poll, wait, retry, end.
//!
//! A driver calls [`Registration::step`] to get the next step, performs it, and passes the outcome to
//! [`Registration::on_reply`]. The state machine has no clock, no socket and no random numbers of its own.

use std::time::{Duration, Instant};

use crate::dps::{AssignmentStatus, DpsBody, DpsReply, RegistrationOperation, RegistrationState};
use crate::hub::HubIdentity;
use crate::retry_after::RETRY_AFTER_MAX;
use crate::{DeviceId, Excerpt, HubHost, OperationId, ProtoError, limits};

/// How often the flow registers again at most, if the service answers that it does not know the operation.
///
/// Source: `[guess]`.
const REREGISTRATIONS_MAX: u32 = 3;

/// Maximum number of consecutive logins that the service refuses as unavailable.
const UNAVAILABLE_MAX: u32 = 3;

/// Maximum number of consecutive connections that a loopback address refuses before the service has answered.
///
/// In most cases, a person first has to start the emulator, so many retries do not help. A few retries help if the
/// emulator is just starting.
const NOT_LISTENING_MAX: u32 = 3;

/// Upper limit of the wait after each of these refused connections. So the flow gives up within two seconds.
const NOT_LISTENING_WAIT: Duration = Duration::from_secs(1);

/// The only connection profile that hubward supports. An answer without a profile means this profile.
const CLASSIC: &str = "classic";

/// One registration, from the first request to its end.
#[derive(Debug)]
#[must_use]
pub struct Registration {
    policy: RetryPolicy,
    deadline: Option<Instant>,
    operation: Option<OperationId>,
    state: State,
    /// Number of consecutive failures. A successful answer resets it.
    failures: u32,
    /// How often the flow registered again, because the service did not know the operation.
    reregistrations: u32,
    /// Number of register requests whose outcome is known.
    registrations: u32,
    /// Consecutive logins that the service refused as unavailable.
    unavailable: u32,
    /// Consecutive connections that this machine refused, because no program listens.
    not_listening: u32,
    /// Whether the service has answered at least once.
    is_answered: bool,
}

#[derive(Debug)]
enum State {
    Ready { not_before: Option<Instant> },
    Ended(RegistrationEnd),
}

/// The next step of the driver.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Send the registration, then call [`Registration::on_reply`].
    Register,
    /// Request the status of this operation, then call [`Registration::on_reply`].
    Poll(OperationId),
    /// Call [`Registration::step`] again at this time.
    WaitUntil(Instant),
    /// The registration has ended.
    End(RegistrationEnd),
}

/// How a registration ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RegistrationEnd {
    /// DPS assigned the device to a hub.
    Assigned(Box<Assignment>),
    /// The service answered `failed` or `disabled`.
    Rejected {
        /// The status in the answer.
        status: AssignmentStatus,
        /// The service's record, with error code and message if the service sent them.
        state: Box<RegistrationState>,
    },
    /// The flow gave up after a failure. The reason is one of these: a retry cannot help, there were too many failures
    /// or new registrations, or the next retry would come after the deadline.
    GaveUp {
        /// Number of consecutive failures.
        failures: u32,
        /// Whether the flow gave up because the next retry would come after the deadline.
        out_of_time: bool,
    },
    /// The deadline passed before the registration ended, or the next poll would come after the deadline.
    Deadline,
    /// The service's answer contradicts the protocol.
    Broken(ProtoError),
}

/// The hub and the device id that DPS assigned.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Assignment {
    /// The hub.
    pub hub: HubHost,
    /// The id of the device at this hub. It may differ from the registration id.
    pub device_id: DeviceId,
    /// The complete record of the service: substatus, payload, etag, times.
    pub state: RegistrationState,
}

impl Assignment {
    /// Returns the identity of the device at its hub. The topics, the user name and the tokens of the device contain
    /// this identity.
    pub fn identity(&self) -> HubIdentity {
        HubIdentity::new(self.hub.clone(), self.device_id.clone())
    }
}

/// A transport error, reduced to what the registration flow needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// How long the service asked to wait, if it named a time.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Creates a failure.
    #[must_use]
    pub const fn new(kind: FailureKind, retry_after: Option<Duration>) -> Self {
        Self { kind, retry_after }
    }
}

/// The kinds of failures that the flow handles differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// No answer: the connection was refused or closed, or timed out. The operation may still run.
    Network,
    /// No program listens at the address, and the address is on this machine.
    ///
    /// Before the first successful answer of the service, the flow retries only twice, and waits at most one second
    /// before each retry. After that answer, the flow treats this kind like [`FailureKind::Network`], because the
    /// emulator may be restarting.
    NotListening,
    /// The service throttles the client.
    Throttled,
    /// The service failed (5xx).
    Server,
    /// The service refuses the login as unavailable (CONNACK 3). DPS refuses a wrong ID scope in the same way, so the
    /// flow retries only a few times.
    ///
    /// Source: `[seen]` a Microsoft engineer in Azure/azure-iot-sdk-python, issue 670.
    Unavailable,
    /// The service does not know the operation.
    OperationUnknown,
    /// A retry cannot help.
    Final,
}

/// How often the flow retries and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct RetryPolicy {
    /// Maximum number of consecutive failures. The flow gives up at the next failure.
    pub max_failures: u32,
    /// Upper limit of the random wait after the first failure. The limit doubles with each further failure.
    ///
    /// Before a retry, the client waits as long as the service asks for, and then for a random time up to this limit.
    ///
    /// The first of these two waits is at least `limits::SERVER_ERROR_WAIT` if the service failed, refused the login as
    /// unavailable, or throttled the client without a Retry-After.
    pub first_wait: Duration,
    /// Upper limit of the random wait after any number of failures.
    pub max_wait: Duration,
    /// Maximum number of register requests, including those that fail; at least 1. The flow gives up before it would
    /// send another one. Polls do not count: the service bills registrations, but not polls. A request that no program
    /// at the address could receive ([`FailureKind::NotListening`]) does not count either. No limit by default.
    pub max_registrations: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_failures: 10,
            first_wait: Duration::from_secs(1),
            max_wait: Duration::from_secs(60),
            max_registrations: u32::MAX,
        }
    }
}

impl RetryPolicy {
    /// Sets [`RetryPolicy::max_failures`]; with 0 the flow does not retry.
    pub const fn max_failures(mut self, max_failures: u32) -> Self {
        self.max_failures = max_failures;
        self
    }

    /// Sets [`RetryPolicy::first_wait`].
    pub const fn first_wait(mut self, first_wait: Duration) -> Self {
        self.first_wait = first_wait;
        self
    }

    /// Sets [`RetryPolicy::max_wait`].
    pub const fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Sets [`RetryPolicy::max_registrations`].
    pub const fn max_registrations(mut self, max_registrations: u32) -> Self {
        self.max_registrations = max_registrations;
        self
    }
}

impl Registration {
    /// Creates a registration. `deadline` limits all requests, waits and retries together.
    pub const fn new(policy: RetryPolicy, deadline: Option<Instant>) -> Self {
        Self {
            policy,
            deadline,
            operation: None,
            state: State::Ready { not_before: None },
            failures: 0,
            reregistrations: 0,
            registrations: 0,
            unavailable: 0,
            not_listening: 0,
            is_answered: false,
        }
    }

    /// Continues an earlier operation instead of registering again. This saves money, because the service bills
    /// registrations, but not polls.
    pub fn resume(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Returns the running operation, if the service has named it.
    #[must_use]
    pub const fn operation(&self) -> Option<&OperationId> {
        self.operation.as_ref()
    }

    /// Returns the next step at `now`. Call it again after each step.
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

    /// Processes the outcome of a request.
    ///
    /// `jitter` is a random number from 0 to 1. Random waits spread the retries of many devices over time.
    pub fn on_reply(&mut self, now: Instant, jitter: f64, reply: Result<&DpsReply, Failure>) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        // If no program listens at the address, the service has not got the request.
        let is_absent = reply.is_err_and(|it| it.kind == FailureKind::NotListening);
        if self.operation.is_none() && !is_absent {
            self.registrations += 1;
        }
        match reply {
            Ok(DpsReply { body: DpsBody::Operation(operation), retry_after, status }) => {
                self.failures = 0;
                self.is_answered = true;
                match (&operation.status, status) {
                    // This crate does not know the status word, and the HTTP status is not 202. So the operation has
                    // ended, and a further poll would get the same answer.
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
            // No recorded exchange contains `unassigned`; the C# and Java SDKs treat this status like `assigning`.
            //
            // An unknown status word may be a new status of a running operation. So the flow polls if it knows the
            // operation id.
            AssignmentStatus::Assigning | AssignmentStatus::Unassigned | AssignmentStatus::Unknown(_) => {
                // If the service allows a poll without a wait, the first poll follows the registration immediately.
                // Later polls wait nevertheless, because the flow would otherwise poll without pause.
                let least = if self.operation.is_some() { limits::POLL_INTERVAL_MIN } else { Duration::ZERO };
                // The answer to a poll may lack the operation id. The flow then keeps the earlier id.
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
                let next = now + retry_after.unwrap_or(limits::POLL_INTERVAL).clamp(least, RETRY_AFTER_MAX);
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
        self.not_listening = if failure.kind == FailureKind::NotListening { self.not_listening + 1 } else { 0 };
        let is_absent = failure.kind == FailureKind::NotListening && !self.is_answered;
        let least = match failure.kind {
            FailureKind::Final => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            // The service bills registrations, so the number of new registrations is limited.
            FailureKind::OperationUnknown if self.reregistrations == REREGISTRATIONS_MAX => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            FailureKind::OperationUnknown => {
                self.operation = None;
                self.reregistrations += 1;
                Duration::ZERO
            }
            FailureKind::Unavailable if self.unavailable == UNAVAILABLE_MAX => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            FailureKind::NotListening if is_absent && self.not_listening == NOT_LISTENING_MAX => {
                self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
                return;
            }
            FailureKind::Server | FailureKind::Unavailable => limits::SERVER_ERROR_WAIT,
            // Without a Retry-After, wait as long as after a server error.
            FailureKind::Throttled if failure.retry_after.is_none() => limits::SERVER_ERROR_WAIT,
            FailureKind::Throttled | FailureKind::Network | FailureKind::NotListening => Duration::ZERO,
        };
        let may_register = self.operation.is_some() || self.registrations < self.policy.max_registrations;
        if failures > self.policy.max_failures || !may_register {
            self.end(RegistrationEnd::GaveUp { failures, out_of_time: false });
            return;
        }
        let limit = if is_absent { NOT_LISTENING_WAIT } else { Duration::MAX };
        let spread = self.policy.wait_after(failures).min(limit).mul_f64(jitter.clamp(0.0, 1.0));
        let next = now + failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX).max(least) + spread;
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
    /// Returns the upper limit of the random wait after `failures` consecutive failures.
    fn wait_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.first_wait.saturating_mul(1 << doublings).min(self.max_wait).min(RETRY_AFTER_MAX)
    }
}

fn assignment(operation: &RegistrationOperation) -> Result<Assignment, ProtoError> {
    let state = operation.registration_state.clone().ok_or(ProtoError::Missing("registrationState"))?;
    if let Some(profile) = state.connection_profile.as_deref().filter(|it| *it != CLASSIC) {
        return Err(ProtoError::ConnectionProfile(Excerpt(profile).to_string()));
    }
    let hub = state.assigned_hub.as_deref().ok_or(ProtoError::Missing("assignedHub"))?;
    let device_id = state.device_id.as_deref().ok_or(ProtoError::Missing("deviceId"))?;
    Ok(Assignment { hub: HubHost::new(hub)?, device_id: DeviceId::new(device_id)?, state })
}

#[cfg(test)]
mod tests;
