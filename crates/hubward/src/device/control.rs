//! What the handle of a device and its supervisor share: requests in one direction, events and the end in the other.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hubward_dps::ProvisionError;
use hubward_proto::HubHost;
use hubward_transport::{HubTransport, RegistrationId};
use tokio::sync::{Notify, oneshot};

use super::credentials::Credentials;
use super::event::DeviceEvent;
use super::event_stream::Publisher;
use crate::ConnectError;

/// A function that gets each event at once.
pub(crate) type EventHook = Arc<dyn Fn(&DeviceEvent) + Send + Sync>;

/// Why new credentials are not in use. The device continues with the credentials that it had before.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialChangeError {
    /// The list has no credential.
    #[error("the list contains no credential")]
    Empty,
    /// The new credentials did not work.
    #[error("the new credentials did not work: {reason}")]
    RolledBack {
        /// What the hub, DPS or the credential itself answered.
        reason: String,
    },
    /// A later change replaced this one before it was decided.
    #[error("a later change of the credentials replaced this one")]
    Superseded,
    /// The device ended before the change was decided.
    #[error("the device ended before the hub had accepted the new credentials")]
    Ended,
}

/// The outcome of [`Device::change_credentials`](super::Device::change_credentials). The change happens whether or not
/// the program waits for this future.
#[derive(Debug)]
#[must_use = "the future says whether the new credentials are in use"]
pub struct CredentialChange(Outcome);

#[derive(Debug)]
enum Outcome {
    Empty,
    Pending(oneshot::Receiver<Result<(), CredentialChangeError>>),
}

impl Future for CredentialChange {
    type Output = Result<(), CredentialChangeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Outcome::Empty => Poll::Ready(Err(CredentialChangeError::Empty)),
            Outcome::Pending(receiver) => {
                Pin::new(receiver).poll(cx).map(|it| it.unwrap_or(Err(CredentialChangeError::Ended)))
            }
        }
    }
}

/// New credentials, and where to report whether they are in use.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) credentials: Credentials,
    reply: oneshot::Sender<Result<(), CredentialChangeError>>,
}

impl Change {
    /// Reports the outcome. The program may have dropped the future.
    pub(crate) fn resolve(self, outcome: Result<(), CredentialChangeError>) {
        let _dropped = self.reply.send(outcome);
    }
}

/// Which party wants the device to register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegisterRequest {
    /// The program.
    Program,
    /// An operator, with the direct method of this name.
    Method(String),
}

/// What has happened to the issued certificate of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateNews {
    /// The hub has issued another certificate, and the device has stored it.
    Renewed,
    /// It has expired while the device was connected.
    Expired,
}

/// What the program has requested and the supervisor has not taken yet. A new request of a kind replaces the one
/// before.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// To register the device again, and why.
    pub(crate) register: Option<RegisterRequest>,
    /// To use other credentials.
    pub(crate) change: Option<Change>,
    /// To react to news of the certificate.
    pub(crate) certificate: Option<CertificateNews>,
}

impl Requests {
    pub(crate) const fn is_empty(&self) -> bool {
        self.register.is_none() && self.change.is_none() && self.certificate.is_none()
    }
}

/// Shared by the handles of a device and its supervisor.
pub(crate) struct Control {
    registration_id: RegistrationId,
    hook: Option<EventHook>,
    events: Publisher,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    requests: Requests,
    is_ended: bool,
    /// Why the supervisor ended the device.
    verdict: Option<Box<ConnectError>>,
    /// The hub to which the device connects.
    approach: Option<Box<Approach>>,
}

/// The hub to which a device connects for the first time.
#[derive(Debug, Clone)]
pub(crate) struct Approach {
    pub(crate) hub: HubHost,
    pub(crate) transport: Arc<dyn HubTransport>,
    pub(crate) since: tokio::time::Instant,
}

impl Control {
    pub(crate) fn new(registration_id: RegistrationId, hook: Option<EventHook>) -> Self {
        Self { registration_id, hook, events: Publisher::default(), state: Mutex::default(), news: Notify::new() }
    }

    /// The streams of events.
    pub(crate) const fn events(&self) -> &Publisher {
        &self.events
    }

    /// Logs an event, and passes it to the program.
    pub(crate) fn report(&self, event: &DeviceEvent) {
        let device = self.registration_id.as_str();
        if event.is_trouble() {
            tracing::warn!(device, "{event}");
        } else {
            tracing::info!(device, "{event}");
        }
        if let Some(hook) = &self.hook {
            hook(event);
        }
        self.events.publish(event);
    }

    /// Requests a registration.
    pub(crate) fn request_registration(&self, reason: RegisterRequest) {
        self.state().requests.register = Some(reason);
        self.news.notify_one();
    }

    /// Requests other credentials.
    pub(crate) fn request_change(&self, credentials: Option<Credentials>) -> CredentialChange {
        let Some(credentials) = credentials else { return CredentialChange(Outcome::Empty) };
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state();
        if !state.is_ended
            && let Some(earlier) = state.requests.change.replace(Change { credentials, reply })
        {
            earlier.resolve(Err(CredentialChangeError::Superseded));
        }
        drop(state);
        self.news.notify_one();
        CredentialChange(Outcome::Pending(receiver))
    }

    /// Adds news of the certificate.
    pub(crate) fn request_certificate(&self, news: CertificateNews) {
        self.state().requests.certificate = Some(news);
        self.news.notify_one();
    }

    /// Takes the requests, which may be empty.
    pub(crate) fn take_requests(&self) -> Requests {
        std::mem::take(&mut self.state().requests)
    }

    /// Waits until there are requests. Does not take them.
    pub(crate) async fn requested(&self) {
        loop {
            let news = self.news.notified();
            if !self.state().requests.is_empty() {
                return;
            }
            news.await;
        }
    }

    /// Says to which hub the device connects, for the error of a `connect` that times out.
    pub(crate) fn set_approach(&self, approach: Option<Approach>) {
        self.state().approach = approach.map(Box::new);
    }

    /// The hub to which the device connects, if it knows one.
    pub(crate) fn approach(&self) -> Option<Approach> {
        self.state().approach.as_deref().cloned()
    }

    /// Keeps the reason for which the supervisor ends the device.
    pub(crate) fn set_verdict(&self, error: ConnectError) {
        self.state().verdict = Some(Box::new(error));
    }

    /// Adds to the reason, if there is one, that no time is left for another attempt. Returns `false` if there is none.
    pub(crate) fn has_run_out_of_time(&self) -> bool {
        let mut state = self.state();
        if let Some(ConnectError::Provision(ProvisionError::Transport { out_of_time, .. })) =
            state.verdict.as_deref_mut()
        {
            *out_of_time = true;
        }
        state.verdict.is_some()
    }

    /// Takes the reason for which the supervisor has ended the device.
    pub(crate) fn take_verdict(&self) -> Option<ConnectError> {
        self.state().verdict.take().map(|it| *it)
    }

    /// Ends the streams of events and the requests. The supervisor calls it when it is dropped.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.is_ended = true;
        // The sender of the outcome is dropped, so the future of the change resolves.
        let requests = std::mem::take(&mut state.requests);
        drop(state);
        drop(requests);
        self.events.end();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("registration_id", &self.registration_id)
            .field("state", &*self.state())
            .finish_non_exhaustive()
    }
}
