//! The driver of a registration. It carries out the steps of the registration flow, and owns the transport and the
//! credential.

use std::fmt;
use std::time::{Duration, SystemTime};

use hubward_proto::dps::{DpsReply, Register, Registration, RegistrationEnd, RetryPolicy, SAS_POLICY, Step};
use hubward_proto::{OperationId, ProtoError, dps::Assignment};
use hubward_transport::{Credential, DpsTransport, Stage, TransportError, UnixSeconds, clock};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::ProvisionError;

/// Upper limit for [`Provisioner::attempt_timeout`]: longer than any request takes, but short enough for every clock.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Time limit for the orderly close.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// Registers one device, once.
#[must_use]
pub struct Provisioner {
    transport: Box<dyn DpsTransport>,
    request: Register,
    credential: Credential,
    deadline: Option<Duration>,
    attempt_timeout: Duration,
    token_lifetime: Duration,
    retry: RetryPolicy,
    operation: Option<OperationId>,
    progress: Option<Watcher>,
    wall: WallClock,
}

/// A function that returns the time of the wall clock.
type WallClock = Box<dyn Fn() -> SystemTime + Send + Sync>;

type Watcher = Box<dyn FnMut(&Progress<'_>) + Send>;

/// The current step of a registration, for a progress display.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The provisioner sends the registration.
    Registering,
    /// The service is looking for a hub. The provisioner polls again after `wait`.
    Assigning {
        /// The wait until the next poll.
        wait: Duration,
    },
    /// The provisioner asks for the status of the operation.
    Polling {
        /// The operation.
        operation: &'a OperationId,
    },
    /// A request failed. The provisioner tries again after `wait`.
    Retrying {
        /// The failure.
        error: &'a TransportError,
        /// The wait until the next attempt.
        wait: Duration,
    },
}

impl Provisioner {
    /// Default of [`Provisioner::attempt_timeout`].
    pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

    /// Default of [`Provisioner::token_lifetime`]: one hour. The provisioner makes a new token for each request.
    pub const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

    /// Makes a provisioner that registers `request` over `transport`.
    pub fn new(transport: Box<dyn DpsTransport>, request: Register, credential: Credential) -> Self {
        Self {
            transport,
            request,
            credential,
            deadline: None,
            attempt_timeout: Self::ATTEMPT_TIMEOUT,
            token_lifetime: Self::TOKEN_LIFETIME,
            retry: RetryPolicy::default(),
            operation: None,
            progress: None,
            wall: Box::new(clock::now),
        }
    }

    /// Sets the deadline of the whole registration. The time counts from the start of [`Provisioner::run`].
    ///
    /// Without a deadline, a registration can take any time: the provisioner polls as long as the service answers
    /// `assigning`. The retry policy does not end the polling, because it limits only consecutive failures.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how long a single request may take, including the time to connect.
    pub const fn attempt_timeout(mut self, attempt_timeout: Duration) -> Self {
        self.attempt_timeout = attempt_timeout;
        self
    }

    /// Sets the lifetime of the token. Use at least a minute, because the device's clock and the service's clock may
    /// differ.
    pub const fn token_lifetime(mut self, token_lifetime: Duration) -> Self {
        self.token_lifetime = token_lifetime;
        self
    }

    /// Sets how often the provisioner retries, and how long it waits.
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Continues an operation that an earlier run started: the provisioner polls the operation and does not register.
    /// It registers again only if the service does not know the operation.
    pub fn resume(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Reads the wall clock with this function, in place of the clock of the operating system. The expiry of tokens
    /// follows this clock.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall = Box::new(now);
        self
    }

    /// Calls `callback` at each step. The callback must not block.
    pub fn on_progress(mut self, callback: impl FnMut(&Progress<'_>) + Send + 'static) -> Self {
        self.progress = Some(Box::new(callback));
        self
    }

    /// The host and port of the service, for messages.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    /// Runs the registration: registers, waits, polls and retries, until the device has a hub or the registration has
    /// failed.
    ///
    /// # Errors
    /// [`ProvisionError`]. `fault()` names the party that has to act. `is_retryable()` says whether a later attempt may
    /// succeed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. The service may still assign the device to a hub. If the device
    /// registers again later, the service returns this hub.
    pub async fn run(mut self) -> Result<Assignment, ProvisionError> {
        let started = Instant::now();
        // If the clock cannot represent the deadline, there is none.
        let deadline = self.deadline.and_then(|it| started.checked_add(it));
        let mut flow = Registration::new(self.retry.clone(), deadline.map(Instant::into_std));
        if let Some(operation) = self.operation.take() {
            flow = flow.resume(operation);
        }
        let result = self.drive(&mut flow, deadline).await;
        // Close the connection in an orderly way, but spend at most `CLOSE_LIMIT`, and do not exceed the deadline. An
        // error of the close does not change the result.
        let close_until = Instant::now() + CLOSE_LIMIT;
        let _ = timeout_at(deadline.map_or(close_until, |it| it.min(close_until)), self.transport.close()).await;
        result
    }

    async fn drive(
        &mut self,
        flow: &mut Registration,
        deadline: Option<Instant>,
    ) -> Result<Assignment, ProvisionError> {
        let mut failures = Failures::default();
        let mut requests: u32 = 0;
        loop {
            let now = Instant::now();
            match flow.step(now.into_std()) {
                Step::Register => {
                    self.report(&Progress::Registering);
                    requests += 1;
                    self.log_request(requests, "register");
                    let reply = self.attempt(None, deadline).await?;
                    self.on_reply(flow, requests, reply, &mut failures);
                }
                Step::Poll(operation) => {
                    self.report(&Progress::Polling { operation: &operation });
                    requests += 1;
                    self.log_request(requests, "poll");
                    let reply = self.attempt(Some(&operation), deadline).await?;
                    self.on_reply(flow, requests, reply, &mut failures);
                }
                Step::WaitUntil(moment) => {
                    let wait = moment.saturating_duration_since(now.into_std());
                    match &failures.error {
                        Some(error) => self.report(&Progress::Retrying { error, wait }),
                        None => self.report(&Progress::Assigning { wait }),
                    }
                    sleep_until(moment.into()).await;
                }
                Step::End(end) => return self.end(end, failures),
                step => unreachable!("every step of the flow is handled: {step:?}"),
            }
        }
    }

    /// Makes one request within its time limit.
    ///
    /// The outer `Result` is an error if the registration must end. The inner `Result` is the outcome of the request.
    /// The registration flow gets it and, if it is an error, decides whether to retry.
    async fn attempt(
        &mut self,
        operation: Option<&OperationId>,
        deadline: Option<Instant>,
    ) -> Result<Result<DpsReply, TransportError>, ProvisionError> {
        let started = Instant::now();
        let until = started + self.attempt_timeout.min(A_YEAR);
        let until = deadline.map_or(until, |it| it.min(until));
        let expiry = UnixSeconds::from_system_time((self.wall)()).saturating_add(self.token_lifetime);
        let (request, transport) = (&self.request, &mut self.transport);
        let exchange = async {
            let token = self.credential.token(&request.sas_resource(), expiry, Some(SAS_POLICY)).await?;
            let reply = match operation {
                None => transport.register(request, token.as_ref()).await,
                Some(operation) => transport.operation_status(request, operation, token.as_ref()).await,
            };
            let with_certificate = self.credential.certificate().is_some();
            Ok(reply.map_err(|it| if with_certificate { it.with_certificate() } else { it }))
        };
        timeout_at(until, exchange).await.unwrap_or_else(|_| {
            let requested = if operation.is_some() { Stage::Poll } else { Stage::Register };
            let stage = self.transport.stage().unwrap_or(requested);
            Ok(Err(TransportError::Timeout { endpoint: self.transport.endpoint(), stage, after: until - started }))
        })
    }

    /// Logs that request number `attempt` of this registration begins.
    fn log_request(&self, attempt: u32, request: &str) {
        let (transport, endpoint) = (self.transport.kind().as_str(), self.transport.endpoint());
        tracing::debug!(transport, endpoint, attempt, request, "attempting a request to DPS");
    }

    /// Passes the outcome of request number `attempt` to `flow` (the registration), and logs the outcome.
    fn on_reply(
        &self,
        flow: &mut Registration,
        attempt: u32,
        reply: Result<DpsReply, TransportError>,
        failures: &mut Failures,
    ) {
        let now = Instant::now().into_std();
        let (transport, endpoint) = (self.transport.kind().as_str(), self.transport.endpoint());
        match reply {
            Ok(reply) => {
                flow.on_reply(now, fastrand::f64(), Ok(&reply));
                *failures = Failures::default();
                match next_wait(flow, now) {
                    Some(next_wait) => tracing::debug!(transport, endpoint, attempt, ?next_wait, "DPS is assigning"),
                    None => tracing::debug!(transport, endpoint, attempt, "DPS ended the registration"),
                }
            }
            Err(error) => {
                flow.on_reply(now, fastrand::f64(), Err(error.failure()));
                let reason = error.chain();
                match next_wait(flow, now) {
                    Some(next_wait) => {
                        tracing::info!(transport, endpoint, attempt, ?next_wait, reason, "a request to DPS failed");
                    }
                    None => tracing::info!(transport, endpoint, attempt, reason, "the registration failed"),
                }
                *failures = Failures { attempts: failures.attempts + 1, error: Some(error) };
            }
        }
    }

    fn end(&self, end: RegistrationEnd, failures: Failures) -> Result<Assignment, ProvisionError> {
        let endpoint = self.transport.endpoint();
        let Failures { attempts, error } = failures;
        match (end, error) {
            (RegistrationEnd::Assigned(assignment), _) => Ok(*assignment),
            (RegistrationEnd::Rejected { status, state }, _) => {
                Err(ProvisionError::Rejected { endpoint, status, state })
            }
            (RegistrationEnd::Broken(ProtoError::ConnectionProfile(profile)), _) => {
                Err(ProvisionError::ConnectionProfile { endpoint, profile })
            }
            (RegistrationEnd::Broken(source), _) => Err(ProvisionError::Broken { endpoint, source }),
            // The flow gives up only after a failure, so `failures` contains an error.
            (RegistrationEnd::GaveUp { out_of_time, .. }, Some(source)) => {
                Err(ProvisionError::Transport { attempts, out_of_time, source })
            }
            // The last failure explains more than the deadline does.
            (RegistrationEnd::Deadline, Some(source)) => {
                Err(ProvisionError::Transport { attempts, out_of_time: true, source })
            }
            (_, _) => Err(ProvisionError::Deadline { endpoint, after: self.deadline.unwrap_or_default() }),
        }
    }

    fn report(&mut self, progress: &Progress<'_>) {
        if let Some(callback) = &mut self.progress {
            callback(progress);
        }
    }
}

impl fmt::Debug for Provisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioner")
            .field("transport", &self.transport)
            .field("request", &self.request)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The failures since the last successful response.
#[derive(Debug, Default)]
struct Failures {
    attempts: u32,
    error: Option<TransportError>,
}

/// Returns how long to wait before the next request. Returns `None` if the registration has ended.
fn next_wait(flow: &mut Registration, now: std::time::Instant) -> Option<Duration> {
    match flow.step(now) {
        Step::WaitUntil(moment) => Some(moment.saturating_duration_since(now)),
        Step::Register | Step::Poll(_) => Some(Duration::ZERO),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
