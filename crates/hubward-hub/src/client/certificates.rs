//! The handle's method for certificates: requesting one from the hub.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hubward_proto::hub::credential_code;
use hubward_transport::{
    CertificateRequestId, Csr, Fault, Feature, ProtoError, Refusal, RefusedBy, Replace, TransportError,
};
use tokio::sync::{SemaphorePermit, TryAcquireError, oneshot};
use tokio::time::Instant;

use crate::deadline::later;
use crate::features::{CertificateCall, IssuanceFailure, IssuanceOutcome};
use crate::shared::{Command, Shared};
use crate::{CloseReason, HubClient, UnconfirmedReason, Unsupported, WeakHubClient};

impl HubClient {
    /// Requests a certificate for this device from the hub, and waits for it. Certificate requests are a preview of the
    /// service.
    ///
    /// Returns the issued chain in the texts that the hub sent: the certificate of the device first, then its issuers.
    /// The encoding of the texts differs between versions of the service. The crate `hubward-x509` reads all of them
    /// (`Certificate::chain_from_service_texts`).
    ///
    /// The client subscribes to the answers before it sends the request. After the hub has accepted the request, the
    /// certificate may come later: the client waits 120 s for each next answer. If the connection ends, the client
    /// sends the request with the same id again on the next connection. If the hub then says that this request is
    /// pending, or that an earlier request of this client is, the client replaces the pending request.
    ///
    /// The client does not retry after any other refusal, because the caller decides when to try again.
    ///
    /// # Errors
    /// [`IssuanceError::NotEnabled`] if the login does not allow certificate requests
    /// ([`HubLogin::certificate_requests`](crate::HubLogin::certificate_requests)). [`IssuanceError::Busy`] if another
    /// request of this client is running. [`IssuanceError::Refused`] with the code, the message, the tracking id and
    /// the Retry-After of the hub. Other variants say whether the hub may have the request.
    ///
    /// # Cancel safety
    /// If the future is dropped before the client has sent the request, the client does not send it. If the future is
    /// dropped later, the client discards the certificate, and the next request of this client replaces the dropped
    /// one.
    ///
    /// Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md`; `[sdk]`
    /// Azure/azure-iot-sdk for the time limit.
    pub async fn request_certificate(&self, request: IssuanceRequest) -> Result<Vec<String>, IssuanceError> {
        self.check_certificate_requests()?;
        let _room = room(&self.shared)?;
        self.send_certificate_request(request).await?.outcome(&self.shared).await
    }

    fn check_certificate_requests(&self) -> Result<(), IssuanceError> {
        self.check(Feature::Certificates)?;
        match self.login() {
            Some(login) if login.identity.module.is_some() => {
                return Err(Unsupported::for_identity(self.kind(), Feature::Certificates).into());
            }
            Some(login) if !login.certificate_requests => return Err(IssuanceError::NotEnabled),
            // Without a hub, the request waits for one.
            _ => {}
        }
        Ok(())
    }

    async fn send_certificate_request(&self, request: IssuanceRequest) -> Result<SentRequest, IssuanceError> {
        let IssuanceRequest { id, csr, replace_pending, deadline } = request;
        let until = deadline.map(|it| later(Instant::now(), it));
        let replace = replace_pending.then_some(Replace::Any);
        let (call, outcome) = CertificateCall::new(id, csr, replace, until);
        let slot = self.commands.reserve().await.map_err(|_| closed(&self.shared))?;
        slot.send(Command::Certificate(Box::new(call)));
        // A request may enter the channel at the moment when the task ends. The task then never takes this request, and
        // without this check the caller would wait forever.
        if self.shared.is_closed.load(Ordering::SeqCst) && outcome.is_empty() {
            return Err(closed(&self.shared));
        }
        Ok(SentRequest { outcome, deadline })
    }
}

impl WeakHubClient {
    /// Like [`HubClient::request_certificate`], but the future does not keep the client alive. If the program drops the
    /// last [`HubClient`], the client ends, and the future returns an error.
    ///
    /// # Errors
    /// As for [`HubClient::request_certificate`]. [`IssuanceError::NotSent`] if the client has ended.
    ///
    /// # Cancel safety
    /// As for [`HubClient::request_certificate`].
    pub async fn request_certificate(&self, request: IssuanceRequest) -> Result<Vec<String>, IssuanceError> {
        let ended = || IssuanceError::NotSent { reason: UnconfirmedReason::Closed(CloseReason::Dropped) };
        let hub = self.upgrade().ok_or_else(ended)?;
        hub.check_certificate_requests()?;
        let shared = Arc::clone(&hub.shared);
        let _room = room(&shared)?;
        let sent = hub.send_certificate_request(request).await;
        drop(hub);
        sent?.outcome(&shared).await
    }
}

/// A request that the task has. The handle is not needed any more.
struct SentRequest {
    outcome: oneshot::Receiver<IssuanceOutcome>,
    deadline: Option<Duration>,
}

impl SentRequest {
    async fn outcome(self, shared: &Shared) -> Result<Vec<String>, IssuanceError> {
        let failure = match self.outcome.await {
            Ok(Ok(chain)) => return Ok(chain),
            Ok(Err(failure)) => failure,
            // The task ended without an answer: it was aborted.
            Err(_) => IssuanceFailure::Closed { reason: CloseReason::Aborted, written: true },
        };
        Err(issuance_error(shared, failure, self.deadline.unwrap_or_default()))
    }
}

/// Takes the only permit for a request. The caller holds it until the certificate arrives or the caller drops the
/// future.
fn room(shared: &Shared) -> Result<SemaphorePermit<'_>, IssuanceError> {
    shared.certificate_room.try_acquire().map_err(|error| match error {
        TryAcquireError::NoPermits => IssuanceError::Busy,
        TryAcquireError::Closed => closed(shared),
    })
}

fn closed(shared: &Shared) -> IssuanceError {
    IssuanceError::NotSent { reason: UnconfirmedReason::Closed(shared.reason()) }
}

fn issuance_error(shared: &Shared, failure: IssuanceFailure, deadline: Duration) -> IssuanceError {
    let passed = |after| UnconfirmedReason::Deadline { after, cause: shared.current_cause() };
    let (written, reason) = match failure {
        IssuanceFailure::Refused(refusal) => return IssuanceError::Refused(refusal),
        IssuanceFailure::Impossible(problem) => return IssuanceError::Invalid(problem),
        IssuanceFailure::Unreadable(problem) => return IssuanceError::Unreadable(problem),
        IssuanceFailure::Silent { after } => (true, passed(after)),
        IssuanceFailure::Deadline { written } => (written, passed(deadline)),
        IssuanceFailure::Closed { reason, written } => (written, UnconfirmedReason::Closed(reason)),
    };
    if written { IssuanceError::Unknown { reason } } else { IssuanceError::NotSent { reason } }
}

/// A request for a certificate of a device, which [`HubClient::request_certificate`] sends to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct IssuanceRequest {
    /// The id of the request. The hub keeps one pending request of a device, and names it by this id.
    pub id: CertificateRequestId,
    /// The certificate request (PKCS#10). Its subject must be exactly `CN={device id}`.
    pub csr: Csr,
    /// If `true`, this request replaces whatever request of the device is pending at the hub, for example one that the
    /// program sent before it restarted. Without a pending request, the value changes nothing. Default `false`.
    pub replace_pending: bool,
    /// Maximum time from the call to the certificate, including reconnects; `None` for no limit. Default 10 minutes.
    pub deadline: Option<Duration>,
}

impl IssuanceRequest {
    /// Creates a request with a random id.
    pub fn new(csr: Csr) -> Self {
        Self { id: Self::random_id(), csr, replace_pending: false, deadline: Some(Duration::from_secs(600)) }
    }

    /// Returns an id of 32 random hexadecimal digits. A program that stores the id before it makes the certificate
    /// request can use it for [`IssuanceRequest::id`].
    #[must_use]
    pub fn random_id() -> CertificateRequestId {
        let text = format!("{:032x}", fastrand::u128(..));
        CertificateRequestId::new(text).expect("32 hexadecimal digits are a valid id")
    }

    /// Sets [`IssuanceRequest::id`].
    pub fn id(mut self, id: CertificateRequestId) -> Self {
        self.id = id;
        self
    }

    /// Sets [`IssuanceRequest::replace_pending`].
    pub const fn replace_pending(mut self, replace_pending: bool) -> Self {
        self.replace_pending = replace_pending;
        self
    }

    /// Sets [`IssuanceRequest::deadline`].
    pub const fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Why the client could not get a certificate. The variant says whether the hub may have the request.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IssuanceError {
    /// The login does not allow certificate requests. Nothing was sent. Set
    /// [`HubLogin::certificate_requests`](crate::HubLogin::certificate_requests).
    #[error("the login does not allow certificate requests (HubLogin::certificate_requests)")]
    NotEnabled,
    /// Another certificate request of this client is running. Nothing was sent.
    #[error("another certificate request of this client is running")]
    Busy,
    /// The request cannot be sent over this connection, for example because the client has moved to a login that does
    /// not allow certificate requests.
    #[error("the certificate request cannot be sent")]
    Invalid(#[source] ProtoError),
    /// The hub refused the request, or the subscription to its answers. The refusal contains the status and, if the hub
    /// sent them, code, message, tracking id and Retry-After.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The hub certainly does not have the request.
    #[error("the certificate request was not sent")]
    NotSent {
        /// Why the hub does not have it.
        #[source]
        reason: UnconfirmedReason,
    },
    /// The client sent the request and received no certificate. The hub may still issue one for this request.
    #[error("the certificate request was sent, but the hub did not send a certificate")]
    Unknown {
        /// Why no certificate came.
        #[source]
        reason: UnconfirmedReason,
    },
    /// The hub's answer cannot be read.
    #[error("the hub's answer to the certificate request cannot be read")]
    Unreadable(#[source] ProtoError),
    /// The protocol or the kind of identity does not support certificate requests. Nothing was sent.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

hubward_proto::debug_as_error_report!(IssuanceError);

impl IssuanceError {
    /// Returns `true` if the hub certainly does not work on the request.
    #[must_use]
    pub const fn is_certainly_not_sent(&self) -> bool {
        matches!(self, Self::NotEnabled | Self::Busy | Self::Invalid(_) | Self::NotSent { .. } | Self::Unsupported(_))
    }

    /// The hub's refusal, if it refused the request.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The status of the hub's refusal, such as 400 or 409.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.refusal()?.status()
    }

    /// Returns how long to wait before the next request: as long as the hub says, or the usual time for its error code.
    /// Returns `None` if the hub did not refuse the request, or if the same request cannot succeed later.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let refusal = self.refusal()?;
        let usual = credential_code::first_wait(self.status()?, refusal.error_code);
        refusal.retry_after.or(usual)
    }

    /// Returns the party that has to act; `None` if the program closed the client or the client's task was aborted.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::NotEnabled | Self::Busy | Self::Invalid(_) => Some(Fault::Request),
            Self::Refused(refusal) => Some(refusal_fault(refusal)),
            Self::NotSent { reason } | Self::Unknown { reason } => reason.fault(),
            Self::Unreadable(_) => Some(Fault::Peer),
            Self::Unsupported(problem) => Some(problem.fault()),
        }
    }
}

fn refusal_fault(refusal: &Refusal) -> Fault {
    match (refusal.by, refusal.error_code) {
        // The certificate request is not valid.
        (RefusedBy::Status(400), _) => Fault::Request,
        // The program can replace the pending request.
        (RefusedBy::Status(status), code) if credential_code::is_pending(status, code) => Fault::Request,
        (_, Some(credential_code::NOT_AVAILABLE)) => Fault::Service,
        _ => TransportError::Refused(Box::new(refusal.clone())).fault(),
    }
}
