//! Tests of the policy: which step comes next, and when. The clock is a number.

mod certificate;
mod dps;
mod hub;
mod slow;
mod start;
mod trial;

use std::io;
use std::sync::Arc;

use hubward_dps::AssignmentStatus;
use hubward_hub::{DisconnectCause, Pacing};
use hubward_proto::dps::RegistrationState;
use hubward_transport::{Refusal, RefusedBy, Stage, TlsFault, TransportError};

use super::*;

/// Random numbers of the tests: without jitter, a wait of the slow schedule has its nominal length.
const MIDDLE: f64 = 0.5;

/// A lifecycle with a clock, and with the count of failures that a client keeps.
struct Bench {
    it: Lifecycle,
    now: Instant,
    failures: u32,
}

impl Bench {
    /// A device with one credential that runs and has been connected.
    fn connected() -> Self {
        Self::with(DevicePolicy::default(), 1, true)
    }

    /// A device that knows its hub, has been connected, and has not registered in this run.
    fn with(policy: DevicePolicy, credentials: usize, has_assignment: bool) -> Self {
        let mut it = Self { it: Lifecycle::new(policy, credentials, false), now: clock(), failures: 0 };
        it.it.on_started(it.now, has_assignment, 0.0);
        if has_assignment {
            it.accept();
        }
        it
    }

    fn wait(&mut self, seconds: u64) {
        self.now += secs(seconds);
    }

    fn accept(&mut self) -> Accepted {
        self.it.on_accepted(self.now)
    }

    /// An attempt fails.
    fn fail(&mut self, cause: DisconnectCause) -> Next {
        self.failures += 1;
        let failure = HubFailure::new(cause, self.failures, Duration::ZERO, None);
        self.it.on_hub_failed(self.now, &failure, MIDDLE)
    }

    /// A connection ends that the hub had accepted for this time. The clock moves on by this time first.
    fn drop_after(&mut self, seconds: u64, cause: DisconnectCause) -> Next {
        self.accept();
        self.wait(seconds);
        // The client starts its count over after 30 s.
        self.failures = if seconds >= 30 { 1 } else { self.failures + 1 };
        let failure = HubFailure::new(cause, self.failures, Duration::ZERO, Some(secs(seconds)));
        self.it.on_hub_failed(self.now, &failure, MIDDLE)
    }

    fn assign(&mut self) -> Next {
        self.failures = 0;
        self.it.on_assigned(self.now, false)
    }

    fn assign_elsewhere(&mut self) -> Next {
        self.failures = 0;
        self.it.on_assigned(self.now, true)
    }

    fn dps_fails(&mut self, error: &ProvisionError) -> Next {
        self.it.on_registration_failed(self.now, error, MIDDLE)
    }

    /// Waits until the step is due, and returns the wait in seconds.
    fn until(&mut self, next: &Next) -> u64 {
        let wait = match next {
            Next::Stay { at_least, .. } | Next::Connect { at_least, .. } => *at_least,
            Next::Register { after, .. } => *after,
            Next::RollBack(_) | Next::End => panic!("{next:?} has no wait"),
        };
        self.now += wait;
        wait.as_secs()
    }
}

/// A moment at which a test starts.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_register(next: &Next) -> bool {
    matches!(next, Next::Register { .. })
}

fn is_stay(next: &Next) -> bool {
    matches!(next, Next::Stay { .. })
}

fn hub_refusal(by: RefusedBy, retry_after: Option<u64>) -> DisconnectCause {
    let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Login, by);
    refusal.retry_after = retry_after.map(secs);
    DisconnectCause::Transport(Arc::new(TransportError::Refused(Box::new(refusal))))
}

/// The hub does not accept the identity.
fn not_authorized() -> DisconnectCause {
    hub_refusal(RefusedBy::Connack(5), None)
}

/// The network or the hub fails.
fn lost() -> DisconnectCause {
    let error = TransportError::Closed { endpoint: "hub.example:8883".into(), stage: Stage::Exchange, source: None };
    DisconnectCause::Transport(Arc::new(error))
}

fn not_listening() -> TransportError {
    TransportError::NotListening { endpoint: "localhost:8883".into(), source: io::Error::other("refused") }
}

fn untrusted() -> TransportError {
    let source = io::Error::other("handshake");
    TransportError::Tls { endpoint: "hub.example:8883".into(), fault: TlsFault::Untrusted, source }
}

fn provision(source: TransportError) -> ProvisionError {
    ProvisionError::Transport { attempts: 1, out_of_time: false, source }
}

fn dps_answers(status: u16, retry_after: Option<u64>) -> ProvisionError {
    let mut refusal = Refusal::new("dps.example:443".into(), Stage::Register, RefusedBy::Status(status));
    refusal.retry_after = retry_after.map(secs);
    provision(TransportError::Refused(Box::new(refusal)))
}

fn dps_lost() -> ProvisionError {
    provision(TransportError::Closed { endpoint: "dps.example:443".into(), stage: Stage::Register, source: None })
}

fn rejected(status: AssignmentStatus) -> ProvisionError {
    let state = Box::<RegistrationState>::default();
    ProvisionError::Rejected { endpoint: "dps.example:443".into(), status, state }
}
