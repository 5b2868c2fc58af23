//! Handles twin requests of a device, and notices about changes of its desired properties.

use bytes::Bytes;
use hubward_proto::hub::{DesiredTopic, TwinResponseTopic};
use tokio::io::{AsyncRead, AsyncWrite};

use super::delayed::{Draft, PublishKind};
use super::session::HubSession;
use crate::doors::mqtt::codec::Publish;
use crate::doors::mqtt::{Closed, Connection, REQUEST_ID_MAX};
use crate::services::hub::{ReportError, error_body};
use crate::state::fault::{Fault, Point};
use crate::state::wire_id;

/// A twin request: reads the twin or reports properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Get { id: &'a str },
    Report { id: Option<&'a str> },
}

/// The response to a twin request.
#[derive(Debug, Clone)]
struct TwinResponse {
    status: u16,
    version: Option<u64>,
    body: Bytes,
}

impl<'a> Request<'a> {
    /// Parses the topic of a twin request. Returns `None` for any other topic.
    ///
    /// Source: `[sdk]` Azure/iotedge, MessagingServiceClient.cs: a GET without a request id ends the connection. A
    /// report without a request id is accepted and not answered.
    pub(super) fn parse(topic: &'a str) -> Option<Result<Self, Closed>> {
        let (reports, rest) = match topic.strip_prefix("$iothub/twin/GET/") {
            Some(rest) => (false, rest),
            None => (true, topic.strip_prefix("$iothub/twin/PATCH/properties/reported/")?),
        };
        let parameters = if rest.is_empty() { "" } else { rest.strip_prefix('?')? };
        let id = parameters.split('&').find_map(|it| it.strip_prefix("$rid=")).filter(|it| !it.is_empty());
        Some(match id {
            Some(id) if id.len() > REQUEST_ID_MAX => Err(Closed::Violation("a request id that is too long")),
            _ if reports => Ok(Self::Report { id }),
            Some(id) => Ok(Self::Get { id }),
            None => Err(Closed::Violation("a GET of the twin without a request id")),
        })
    }

    const fn id(self) -> Option<&'a str> {
        match self {
            Self::Get { id } => Some(id),
            Self::Report { id } => id,
        }
    }
}

impl HubSession<'_> {
    /// Handles a twin request.
    pub(super) fn twin<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: &Publish,
        request: Request<'_>,
    ) -> Result<(), Closed> {
        let point = if matches!(request, Request::Get { .. }) { Point::HubTwinGet } else { Point::HubReported };
        let fault = self.take_fault(point)?;
        let answer = match &fault {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => None,
            Some(Fault::Status { status, code, message, .. }) => {
                let body = error_body(*code, message, self.cloud.clock.now());
                Some(TwinResponse { status: *status, version: None, body: body.to_string().into() })
            }
            Some(Fault::Body { status, bytes, .. }) => {
                Some(TwinResponse { status: *status, body: bytes.clone().into(), ..self.answer(publish, request)? })
            }
            _ => Some(self.answer(publish, request)?),
        };
        if let Some(Fault::CutAfter(bytes)) = &fault {
            connection.cut_after(*bytes);
        }
        if fault != Some(Fault::BeforePuback) {
            self.acknowledge(connection, publish, None);
        }
        if let Some(id) = request.id()
            && let Some(answer) = answer
        {
            let draft = |id: &str| {
                let topic = TwinResponseTopic { status: answer.status, request_id: id.into(), version: answer.version };
                Draft { kind: PublishKind::Answer, topic: topic.encode(), body: answer.body.clone() }
            };
            let own = draft(id);
            match &fault {
                Some(Fault::Delay(time)) => self.delayed.delay(own, *time),
                Some(Fault::Duplicate) => {
                    self.send(connection, own.clone())?;
                    self.send(connection, own)?;
                }
                Some(Fault::Stray) => {
                    self.send(connection, draft(&wire_id::guid()))?;
                    self.send(connection, own)?;
                }
                _ => self.send(connection, own)?,
            }
        }
        if fault == Some(Fault::BeforePuback) {
            self.acknowledge(connection, publish, None);
        }
        Ok(())
    }

    fn answer(&self, publish: &Publish, request: Request<'_>) -> Result<TwinResponse, Closed> {
        match request {
            Request::Get { .. } => {
                let body = self.device.twin().ok_or(Closed::NotAllowed)?;
                Ok(TwinResponse { status: 200, version: None, body: body.into() })
            }
            Request::Report { .. } => match self.device.report(&publish.body) {
                Ok(version) => Ok(TwinResponse { status: 204, version: Some(version), body: Bytes::new() }),
                Err(ReportError::Refused(code, message)) => {
                    let body = error_body(code.number(), &message, self.cloud.clock.now());
                    Ok(TwinResponse { status: code.status(), version: None, body: body.to_string().into() })
                }
                Err(ReportError::NotAllowed) => Err(Closed::NotAllowed),
            },
        }
    }

    /// Publishes a change of the desired properties if the device has subscribed to such changes.
    pub(super) fn desired<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        version: u64,
        body: Bytes,
    ) -> Result<(), Closed> {
        if self.qos(PublishKind::Notice).is_none() {
            return Ok(());
        }
        let draft = Draft { kind: PublishKind::Notice, topic: DesiredTopic { version: Some(version) }.encode(), body };
        match self.take_fault(Point::HubDesired)? {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => return Ok(()),
            Some(Fault::Delay(time)) => {
                self.delayed.delay(draft, time);
                return Ok(());
            }
            Some(Fault::Duplicate) => self.send(connection, draft.clone())?,
            _ => {}
        }
        self.send(connection, draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_topics_of_twin_requests() {
        let (get, report) = (|id| Some(Some(Request::Get { id })), |id| Some(Some(Request::Report { id })));
        let long = format!("$iothub/twin/GET/?$rid={}", "x".repeat(1025));
        for (topic, expected) in [
            ("$iothub/twin/GET/?$rid=1", get("1")),
            ("$iothub/twin/GET/?$rid=a-b%20&x=y", get("a-b%20")),
            ("$iothub/twin/GET/?x=y&$rid=1", get("1")),
            ("$iothub/twin/GET/?$rid=", Some(None)),
            ("$iothub/twin/GET/?rid=1", Some(None)),
            ("$iothub/twin/GET/", Some(None)),
            (&long, Some(None)),
            ("$iothub/twin/PATCH/properties/reported/?$rid=7", report(Some("7"))),
            ("$iothub/twin/PATCH/properties/reported/?$rid=", report(None)),
            ("$iothub/twin/PATCH/properties/reported/", report(None)),
            ("$iothub/twin/PATCH/properties/reported", None),
            ("$iothub/twin/PATCH/properties/desired/?$rid=7", None),
            ("$iothub/twin/GET", None),
            ("$iothub/twin/GET/x?$rid=1", None),
        ] {
            assert_eq!(Request::parse(topic).map(Result::ok), expected, "{topic}");
        }
    }
}
