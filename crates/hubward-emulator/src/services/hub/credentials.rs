//! Certificate requests of a device: the hub accepts a request, and issues the certificate afterwards.

use std::time::{Duration, SystemTime};

use hubward_proto::hub::{
    CertificateAccepted, CertificateRefusal, CredentialResponseTopic, IssueCertificate, IssuedCertificates, Replace,
    credential_code,
};
use hubward_proto::{CertificateRequestId, Csr, limits};
use serde_json::{Map, Value};

use super::connection::DeviceConnection;
use crate::services::issuer::SigningRequest;
use crate::state::clock::{long_timestamp, timestamp};
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Issuance, PendingRequest, RequestResult, State};
use crate::state::wire_id;

/// An answer to a certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CredentialResponse {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The result of a pending request.
#[derive(Debug)]
pub(crate) struct CredentialResult {
    /// The id that the client chose.
    pub(crate) request_id: String,
    pub(crate) response: CredentialResponse,
}

/// A request whose result the client has not acknowledged.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The hub's id of the request.
    pub(crate) correlation_id: String,
    /// When the result is ready: see [`PendingRequest::ready`].
    pub(crate) ready: Option<SystemTime>,
    /// Whether the hub has tried to send the result, in this connection or in an earlier one.
    pub(crate) has_result: bool,
}

/// Why a hub refuses a certificate request.
#[derive(Debug)]
struct Refused {
    code: u32,
    message: String,
    info: Option<Map<String, Value>>,
    /// The reason for the journal.
    why: String,
}

impl Refused {
    fn new(code: u32, message: impl Into<String>, why: impl Into<String>) -> Self {
        Self { code, message: message.into(), info: None, why: why.into() }
    }

    fn info(self, info: Map<String, Value>) -> Self {
        Self { info: Some(info), ..self }
    }

    fn response(self, status: u16, now: SystemTime) -> CredentialResponse {
        let refusal = CertificateRefusal {
            error_code: Some(self.code),
            message: Some(self.message),
            tracking_id: Some(wire_id::guid()),
            timestamp_utc: Some(long_timestamp(now)),
            info: self.info,
            retry_after: None,
        };
        CredentialResponse { status, body: refusal.encode() }
    }
}

/// A refusal with this status, code and message.
pub(crate) fn credential_refusal(status: u16, code: u32, message: &str, now: SystemTime) -> CredentialResponse {
    Refused::new(code, message, "").response(status, now)
}

impl DeviceConnection<'_> {
    /// Handles a certificate request. If the hub accepts the request, the answer has the status 202, and the result
    /// follows later. Returns `None` if the connection must end.
    ///
    /// Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md`. `[guess]`:
    ///
    /// * The order of the checks, and the texts.
    /// * A request with an invalid id gets 400004.
    /// * A device without a credential policy gets 403010.
    /// * The replaced request gets no further answer.
    /// * The hub sends a result again in the next connection if the client has not acknowledged it.
    pub(crate) fn request_certificate(&self, request_id: &str, body: &[u8]) -> Option<CredentialResponse> {
        let now = self.cloud.clock.now();
        let checked = self.check_request(request_id, body);
        let accepted = match checked {
            Ok(request) => self.cloud.store.change(|state| self.accept(state, request_id, request, now))?,
            Err(refused) => Err(refused),
        };
        Some(match accepted {
            Ok(accepted) => {
                tracing::debug!(device = %self.login().identity, request_id, "a certificate request is accepted");
                CredentialResponse { status: CredentialResponseTopic::ACCEPTED, body: accepted.encode() }
            }
            Err(refused) => {
                let (response, note) = self.refuse(refused, now);
                self.cloud.journal.note(note);
                response
            }
        })
    }

    fn check_request(&self, request_id: &str, body: &[u8]) -> Result<IssueCertificate, Refused> {
        let wrong = |why: String| {
            Refused::new(credential_code::ARGUMENT_INVALID, format!("The certificate request is refused: {why}."), why)
        };
        let request = IssueCertificate::parse(body).map_err(|problem| {
            let why = problem.to_string();
            let message = format!("The certificate request is refused: {why}.");
            Refused::new(problem.error_code(), message, why)
        })?;
        if request.id != self.login().identity.client_id() {
            return Err(wrong("the id is not that of the connected device".to_owned()));
        }
        match CertificateRequestId::new(request_id) {
            Ok(_) => Ok(request),
            Err(problem) => Err(wrong(problem.to_string())),
        }
    }

    fn accept(
        &self,
        state: &mut State,
        request_id: &str,
        request: IssueCertificate,
        now: SystemTime,
    ) -> Option<Result<CertificateAccepted, Refused>> {
        let device = self.live_device_mut(state)?;
        let policy = device.issuance.as_ref().map(|it| it.policy.clone());
        if policy.and_then(|it| state.credential_policies.named(&it)).is_none() {
            let why = "the hub issues no certificates to this device: DPS has not issued one under a credential policy";
            let message = "The hub does not issue certificates to this device.";
            return Some(Err(Refused::new(credential_code::NOT_AVAILABLE, message, why)));
        }
        let issuance = self.live_device_mut(state)?.issuance.as_mut()?;
        match (&request.replace, issuance.active(now)) {
            (None, None) | (Some(Replace::Any), _) => {}
            (Some(Replace::Request(wanted)), Some(active)) if wanted.as_str() == active.request_id => {}
            (None, Some(active)) => {
                let info = CertificateRefusal::pending_info(&active.request_id, &accepted(active));
                let why = format!("the certificate request `{}` is pending", active.request_id);
                let message = "Another certificate request of the device is pending.";
                return Some(Err(Refused::new(credential_code::ALREADY_PENDING, message, why).info(info)));
            }
            (Some(Replace::Request(wanted)), _) => {
                let info = CertificateRefusal::replaced_info(wanted.as_str());
                let why = format!("there is no certificate request `{}` to replace", wanted.as_str());
                let message = "The certificate request to replace does not exist.";
                return Some(Err(Refused::new(credential_code::REPLACED_UNKNOWN, message, why).info(info)));
            }
        }
        let pending = PendingRequest {
            request_id: request_id.to_owned(),
            correlation_id: wire_id::guid(),
            csr: request.csr.as_str().to_owned(),
            expires: now + limits::CERTIFICATE_OPERATION_LIFE,
            ready: None,
            result: None,
        };
        Some(Ok(accepted(issuance.pending.insert(pending))))
    }

    /// Returns the request whose result the client has not acknowledged.
    pub(crate) fn pending_certificate(&self) -> Option<Pending> {
        let (login, now) = (self.login(), self.cloud.clock.now());
        self.cloud.store.read(|state| {
            let issuance = state.device(&login.hub, &login.identity.client_id())?.issuance.as_ref()?;
            let pending = issuance.pending.as_ref().filter(|it| now < it.expires)?;
            let (correlation_id, has_result) = (pending.correlation_id.clone(), pending.result.is_some());
            Some(Pending { correlation_id, ready: pending.ready, has_result })
        })
    }

    /// Delays the result of the pending request. Returns when it is ready, by the clock of the emulator.
    pub(crate) fn delay_certificate(&self, delay: Duration) -> Option<SystemTime> {
        let now = self.cloud.clock.now();
        self.cloud.store.change_some(|state| {
            let pending = self.pending_mut(state)?;
            pending.delay(now, delay);
            pending.ready
        })
    }

    /// Returns the result of the pending request. The first call issues the certificate, or refuses the certificate
    /// request. Returns `None` if there is no pending request, or if the connection must end.
    pub(crate) fn certificate_result(&self) -> Option<CredentialResult> {
        let now = self.cloud.clock.now();
        let (request_id, result, note) = self.cloud.store.change_some(|state| {
            let issuance = self.live_device_mut(state)?.issuance.clone()?;
            let pending = issuance.pending.as_ref()?;
            let request_id = pending.request_id.clone();
            if let Some(result) = &pending.result {
                return Some((request_id, result.clone(), None));
            }
            let days = state.credential_policies.named(&issuance.policy)?.validity_period_in_days;
            let (response, note) = self.issue(&issuance, pending, days, now);
            let result = RequestResult {
                status: response.status,
                body: String::from_utf8(response.body).expect("JSON is UTF-8"),
            };
            self.pending_mut(state)?.result = Some(result.clone());
            Some((request_id, result, Some(note)))
        })?;
        if let Some(note) = note {
            self.cloud.journal.note(note);
        }
        let RequestResult { status, body } = result;
        Some(CredentialResult { request_id, response: CredentialResponse { status, body: body.into_bytes() } })
    }

    /// Ends a request: the client has acknowledged its result, or a scripted fault has replaced the result.
    pub(crate) fn end_certificate_request(&self, correlation_id: &str) {
        self.cloud.store.change_some(|state| {
            let issuance = self.live_device_mut(state)?.issuance.as_mut()?;
            issuance.pending.take_if(|it| it.correlation_id == correlation_id)
        });
    }

    fn pending_mut<'s>(&self, state: &'s mut State) -> Option<&'s mut PendingRequest> {
        self.live_device_mut(state)?.issuance.as_mut()?.pending.as_mut()
    }

    /// Issues the certificate for a request, or refuses the request. Also returns the event for the journal.
    fn issue(
        &self,
        issuance: &Issuance,
        pending: &PendingRequest,
        days: u16,
        now: SystemTime,
    ) -> (CredentialResponse, Note) {
        let (client_id, authority) = (self.login().identity.client_id(), &self.cloud.authority);
        let issue = || {
            let csr = Csr::new(pending.csr.as_str()).map_err(|problem| problem.to_string())?;
            let request = SigningRequest::read(&csr, &client_id)?;
            let issued = authority.issue(&request, &client_id, &issuance.unique_id, days, now);
            issued.map_err(|problem| problem.to_string())
        };
        match issue() {
            Ok(leaf) => {
                let (until, serial) = (timestamp(leaf.not_after), leaf.serial_number);
                let message = format!("policy `{}`, serial number {serial}, valid until {until}", issuance.policy);
                let certificates = authority.chain(&leaf.text);
                let body = IssuedCertificates { correlation_id: Some(pending.correlation_id.clone()), certificates };
                let response = CredentialResponse { status: 200, body: body.encode() };
                (response, self.event(EventKind::CertificateIssued).message(message))
            }
            Err(why) => {
                let message = "The certificate request cannot be completed.";
                let refused = Refused::new(credential_code::CSR_REFUSED, message, why);
                self.refuse(refused.info(CertificateRefusal::csr_info()), now)
            }
        }
    }

    /// Records why the hub does not answer a certificate request.
    pub(crate) fn ignore_certificate_request(&self, why: &str) {
        tracing::info!(device = %self.login().identity, why, "a certificate request is ignored");
        self.note(EventKind::Refused, Some(format!("a certificate request is ignored: {why}")));
    }

    /// Returns the answer of a refusal, and the event for the journal.
    fn refuse(&self, refused: Refused, now: SystemTime) -> (CredentialResponse, Note) {
        let (code, why) = (refused.code, &refused.why);
        tracing::info!(device = %self.login().identity, code, why, "a certificate request is refused");
        let note = self.event(EventKind::Refused).code(code).message(why);
        (refused.response(u16::try_from(code / 1000).unwrap_or(500), now), note)
    }

    fn event(&self, kind: EventKind) -> Note {
        let identity = &self.login().identity;
        Note::new(kind, EventSource::Hub).hub(identity.host.as_str()).id(&identity.client_id())
    }
}

/// The answer 202 to a request.
fn accepted(pending: &PendingRequest) -> CertificateAccepted {
    CertificateAccepted {
        correlation_id: Some(pending.correlation_id.clone()),
        operation_expires: Some(long_timestamp(pending.expires)),
    }
}
