//! Handles certificate requests of a device, and publishes their results.

use hubward_proto::hub::{CredentialResponseTopic, IssueCertificateTopic};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::delayed::{Draft, PublishKind};
use super::session::HubSession;
use crate::doors::mqtt::codec::Publish;
use crate::doors::mqtt::{Closed, Connection};
use crate::services::hub::{CredentialResponse, CredentialResult, credential_refusal};
use crate::state::fault::{Fault, Point};
use crate::state::wire_id;

impl HubSession<'_> {
    /// Whether a topic is that of a certificate request. A client whose api-version does not include certificate
    /// requests has no such topic.
    pub(super) fn is_certificate_request(&self, topic: &str) -> bool {
        self.device.login().has_certificate_requests && IssueCertificateTopic::is_request(topic)
    }

    /// Handles a certificate request: answers with 202 or a refusal. The main loop then publishes the result.
    ///
    /// The hub ignores a request without a request id, and a request of a client that has not subscribed to the
    /// answers: a later subscription does not change this.
    ///
    /// Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md`. `[guess]`: the hub
    /// acknowledges an ignored request, and the connection stays open.
    pub(super) async fn certificate_request<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: &Publish,
    ) -> Result<(), Closed> {
        let request_id = IssueCertificateTopic::parse(&publish.topic).map(|it| it.request_id);
        let ignored = match &request_id {
            Err(_) => Some("it has no request id"),
            Ok(_) if self.qos(PublishKind::Credential).is_none() => {
                Some("the client has not subscribed to the answers")
            }
            Ok(_) => None,
        };
        if let Some(why) = ignored {
            self.device.ignore_certificate_request(why);
            self.acknowledge(connection, publish, None);
            return Ok(());
        }
        let request_id = request_id.unwrap_or_default();
        let fault = self.take_fault(Point::HubCertificateRequest)?;
        let answer = match &fault {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => None,
            Some(Fault::Status { status, code, message, .. }) => {
                Some(credential_refusal(*status, *code, message, self.cloud.clock.now()))
            }
            Some(Fault::Body { status, bytes, .. }) => {
                Some(CredentialResponse { status: *status, body: bytes.clone() })
            }
            other => {
                match other {
                    Some(Fault::Delay(time)) => sleep(*time).await,
                    Some(Fault::CutAfter(bytes)) => connection.cut_after(*bytes),
                    _ => {}
                }
                let body = &publish.body;
                Some(self.device.request_certificate(&request_id, body).ok_or(Closed::NotAllowed)?)
            }
        };
        if fault != Some(Fault::BeforePuback) {
            self.acknowledge(connection, publish, None);
        }
        if fault == Some(Fault::Stray)
            && let Some(answer) = &answer
        {
            self.send_credential(connection, &wire_id::guid(), answer)?;
        }
        if let Some(answer) = &answer {
            self.send_credential(connection, &request_id, answer)?;
            if fault == Some(Fault::Duplicate) {
                self.send_credential(connection, &request_id, answer)?;
            }
        }
        if fault == Some(Fault::BeforePuback) {
            self.acknowledge(connection, publish, None);
        }
        // Wakes the main loop, which first sends the answer and then publishes the result.
        self.queue_changed.notify_one();
        Ok(())
    }

    /// Publishes the result of the pending certificate request if it is ready, and if the client has subscribed.
    /// Otherwise, the request stays pending, even if the connection ends.
    ///
    /// The hub keeps a result with QoS 1 until the client acknowledges it, and publishes it once in each connection.
    pub(super) fn deliver_certificate<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<(), Closed> {
        self.certificate_ready = None;
        let Some(qos) = self.qos(PublishKind::Credential) else { return Ok(()) };
        let Some(pending) = self.device.pending_certificate() else { return Ok(()) };
        let correlation_id = pending.correlation_id;
        if self.certificate_sent.as_deref() == Some(correlation_id.as_str()) {
            return Ok(());
        }
        let fault = match pending.ready {
            Some(ready) if self.cloud.clock.now() < ready => {
                self.certificate_ready = Some(ready);
                return Ok(());
            }
            None if !pending.has_result => self.take_fault(Point::HubCertificate)?,
            // A fault has already changed this result. Otherwise, a fault for every result would delay it for ever.
            _ => None,
        };
        let replaced = match &fault {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Delay(time)) => {
                self.certificate_ready = self.device.delay_certificate(*time);
                return Ok(());
            }
            Some(Fault::CutAfter(bytes)) => {
                connection.cut_after(*bytes);
                None
            }
            Some(Fault::Status { status, code, message, .. }) => {
                Some(credential_refusal(*status, *code, message, self.cloud.clock.now()))
            }
            Some(Fault::Body { status, bytes, .. }) => {
                Some(CredentialResponse { status: *status, body: bytes.clone() })
            }
            _ => None,
        };
        let Some(CredentialResult { request_id, response }) = self.device.certificate_result() else { return Ok(()) };
        self.certificate_sent = Some(correlation_id.clone());
        let is_kept = qos > 0 && replaced.is_none() && fault != Some(Fault::Never);
        if !is_kept {
            self.device.end_certificate_request(&correlation_id);
        }
        if fault == Some(Fault::Never) {
            return Ok(());
        }
        let response = replaced.unwrap_or(response);
        if fault == Some(Fault::Duplicate) {
            self.send_credential(connection, &request_id, &response)?;
        }
        if !is_kept {
            return self.send_credential(connection, &request_id, &response);
        }
        let topic = CredentialResponseTopic { status: response.status, request_id }.encode();
        self.outbox.named_answer(connection, topic, response.body.into(), correlation_id)
    }

    fn send_credential<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        request_id: &str,
        CredentialResponse { status, body }: &CredentialResponse,
    ) -> Result<(), Closed> {
        let topic = CredentialResponseTopic { status: *status, request_id: request_id.to_owned() };
        self.send(connection, Draft { kind: PublishKind::Credential, topic: topic.encode(), body: body.clone().into() })
    }
}
