//! DPS over MQTT.

use std::convert::Infallible;
use std::sync::Arc;

use hubward_proto::dps::{DpsUsername, OperationTopic, RESPONSE_FILTER, RegisterTopic, ResponseTopic};
use hubward_proto::limits;
use hubward_sas::SasToken;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::doors::admission::ConnectionEntry;
use crate::doors::mqtt::codec::{Connect, Incoming, Outgoing, Publish};
use crate::doors::mqtt::session::Session;
use crate::doors::mqtt::{
    Bounds, Closed, Connection, End, FILTER_REFUSED, NOT_AUTHORIZED, REQUEST_ID_MAX, UNAVAILABLE, apply_connect_fault,
    end_of, refuse, run,
};
use crate::services::cloud::Cloud;
use crate::services::dps::{Caller, DpsConnection, DpsResponse, Refusal};
use crate::services::faults;
use crate::services::presented::PresentedChain;
use crate::state::fault::{Fault, Point};
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::Key;
use crate::state::wire_id;

/// Maximum size of a packet, in bytes, from a device that is allowed to register. For other devices, the limit of a
/// CONNECT continues to apply.
///
/// This limit is larger than the largest valid request. If the body of a request is only a little too large, DPS can
/// therefore still read the request and answer with an error.
const REQUEST_MAX: usize = limits::DPS_MESSAGE_MAX + limits::TOPIC_MAX + 16;

/// Serves a connection whose user name is one for DPS.
///
/// Refuses the CONNECT in these cases:
///
/// * The id scope belongs to another DPS (CONNACK 3).
/// * The user name is missing or cannot be parsed (CONNACK 5).
/// * There is neither a token nor a client certificate, or the token cannot be parsed (CONNACK 5).
/// * The client id is not the registration id of the user name (CONNACK 5).
///
/// Checks neither the key of the token nor the certificate. Like the service, DPS refuses a wrong key or certificate
/// only when the device registers.
///
/// Source: `[doc]` iot-dps/iot-mqtt-connect-to-iot-dps.md. For a wrong key: `[seen]` traces in GitHub issues, with the
/// status 401 for the registration. For CONNACK 3: a Microsoft engineer in Azure/azure-iot-sdk-python, issue 670.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    cloud: &Arc<Cloud>,
    connection: &mut Connection<S>,
    connect: Connect,
    certificates: Option<PresentedChain>,
    entry: &Arc<ConnectionEntry>,
) -> End {
    let checked = check(&connect, certificates);
    // DPS accepts the CONNECT even if the device is not allowed to register, and refuses the registration request
    // later. The connection of such a device gets no slot and does not end an older connection of the device.
    let known = checked.as_ref().is_ok_and(|it| cloud.registrar.denial(it).is_none());
    if let Some(end) = apply_connect_fault(cloud, connection, Point::DpsConnect, &connect, known).await {
        return end;
    }
    let caller = match checked {
        Ok(caller) if !cloud.registrar.is_own_scope(&caller) => {
            return reject_connect(cloud, connection, &connect, UNAVAILABLE, "the id scope belongs to another DPS");
        }
        Ok(caller) => caller,
        Err(why) => return reject_connect(cloud, connection, &connect, NOT_AUTHORIZED, why),
    };
    let (_end, never) = oneshot::channel();
    let (_slot, _listed, ended) = if known {
        // First ends an older connection of this device, because the older connection may hold the last slot.
        cloud.store.take_over(&Key::Dps(caller.key()));
        let Some(slot) = entry.acquire_slot().await else { return End::Abruptly };
        let (listed, ended) = DpsConnection::begin(&cloud.store, &caller);
        connection.allow(REQUEST_MAX);
        (Some(slot), Some(listed), ended)
    } else {
        (None, None, never)
    };
    // Persistent sessions are accepted, but nothing is kept.
    connection.queue(&Outgoing::Connack { session_present: false, code: 0 });
    // DPS checks the age of the token at each request, so the connection has no time of expiry.
    let bounds = Bounds { keep_alive: connect.keep_alive, ended, expired: std::future::pending() };
    let mut session = DpsSession { cloud, caller: &caller, granted: None, packet_id: 0 };
    let why = run(connection, &mut session, bounds).await;
    tracing::debug!(registration_id = %caller.registration_id, %why, "a connection to DPS has ended");
    end_of(&why)
}

/// Refuses a CONNECT and records the reason. The client gets only the return code.
fn reject_connect<S: AsyncRead + AsyncWrite + Unpin>(
    cloud: &Cloud,
    connection: &mut Connection<S>,
    connect: &Connect,
    code: u8,
    why: &str,
) -> End {
    tracing::info!(client_id = connect.client_id, code, why, "DPS refuses a device with CONNACK");
    let note = Note::new(EventKind::Refused, EventSource::Dps).id(&connect.client_id);
    cloud.journal.note(note.code(code.into()).message(why));
    refuse(connection, code)
}

fn check(connect: &Connect, certificates: Option<PresentedChain>) -> Result<Caller, &'static str> {
    let username = connect.username.as_deref().ok_or("no user name")?;
    let DpsUsername { id_scope, registration_id, api_version, .. } =
        DpsUsername::parse(username).map_err(|_| "the user name cannot be read")?;
    if !connect.client_id.eq_ignore_ascii_case(registration_id.as_str()) {
        return Err("the client id is not the registration id of the user name");
    }
    let Some(password) = &connect.password else {
        if certificates.is_none() {
            return Err("neither a SAS token nor a client certificate");
        }
        return Ok(Caller { id_scope, registration_id, token: None, certificates, api_version });
    };
    let password = std::str::from_utf8(password).map_err(|_| "the SAS token cannot be read")?;
    let token = SasToken::parse(password).map_err(|_| "the SAS token cannot be read")?;
    Ok(Caller { id_scope, registration_id, token: Some(token), certificates: None, api_version })
}

struct DpsSession<'a> {
    cloud: &'a Cloud,
    caller: &'a Caller,
    /// The QoS of the client's subscription to responses; `None` if the client has not subscribed.
    granted: Option<u8>,
    /// The packet id of the last publish to the client.
    packet_id: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> for DpsSession<'_> {
    /// DPS only responds to requests.
    type Event = Infallible;

    async fn next(&mut self) -> Infallible {
        std::future::pending().await
    }

    async fn event(&mut self, _: &mut Connection<S>, event: Infallible) -> Result<(), Closed> {
        match event {}
    }

    async fn handle(&mut self, connection: &mut Connection<S>, packet: Incoming) -> Result<(), Closed> {
        match packet {
            Incoming::Publish(publish) => return self.publish(connection, publish).await,
            Incoming::Subscribe(id, filters) => {
                let mut refused = false;
                match self.take_fault(Point::DpsSubscribe) {
                    Some(Fault::Suback128) => refused = true,
                    Some(Fault::Cut) => return Err(Closed::Fault),
                    Some(Fault::Never) => return Ok(()),
                    Some(Fault::Delay(time)) => sleep(time).await,
                    _ => {}
                }
                let codes = filters.iter().map(|(filter, qos)| {
                    if refused || filter != RESPONSE_FILTER {
                        return FILTER_REFUSED;
                    }
                    *self.granted.insert((*qos).min(1))
                });
                let codes: Vec<u8> = codes.collect();
                if self.cloud.choices.close_on_refused_filter && !refused && codes.contains(&FILTER_REFUSED) {
                    return Err(Closed::Violation("a filter that DPS does not take"));
                }
                connection.queue(&Outgoing::Suback(id, codes));
            }
            Incoming::Unsubscribe(id, filters) => {
                if filters.iter().any(|it| it == RESPONSE_FILTER) {
                    self.granted = None;
                }
                connection.queue(&Outgoing::Unsuback(id));
            }
            Incoming::Pingreq => connection.queue(&Outgoing::Pingresp),
            // Ignore the PUBACK. DPS never sends a publish twice within a connection, so it does not need
            // acknowledgements.
            Incoming::Puback(_) => {}
            Incoming::QoS2 => return Err(Closed::Violation("quality of service 2")),
            Incoming::Connect(_) => return Err(Closed::Violation("a second CONNECT")),
            Incoming::Disconnect => return Err(Closed::Disconnected),
        }
        Ok(())
    }
}

/// A request of a device.
enum Request {
    Register(RegisterTopic),
    Poll(OperationTopic),
}

impl DpsSession<'_> {
    /// Takes the fault that is scripted for the current event.
    fn take_fault(&self, point: Point) -> Option<Fault> {
        let known = self.cloud.registrar.denial(self.caller).is_none();
        faults::take_of(self.cloud, point, self.caller.registration_id.as_str(), known)
    }

    async fn publish<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        connection: &mut Connection<S>,
        publish: Publish,
    ) -> Result<(), Closed> {
        if publish.qos > 1 {
            return Err(Closed::Violation("a publish with quality of service 2"));
        }
        let unknown = |_| Closed::Violation("a publish to a topic that DPS does not document");
        let request = match RegisterTopic::parse(&publish.topic) {
            Ok(topic) => Request::Register(topic),
            Err(_) => Request::Poll(OperationTopic::parse(&publish.topic).map_err(unknown)?),
        };
        let (point, request_id) = match &request {
            Request::Register(topic) => (Point::DpsRegister, &topic.request_id),
            Request::Poll(topic) => (Point::DpsPoll, &topic.request_id),
        };
        if request_id.len() > REQUEST_ID_MAX {
            return Err(Closed::Violation("a request id that is too long"));
        }
        let registrar = &self.cloud.registrar;
        let answer = || match &request {
            Request::Register(_) => registrar.register(self.caller, &publish.body),
            Request::Poll(topic) => registrar.poll(self.caller, &topic.operation_id),
        };
        let fault = self.take_fault(point);
        let answer = match &fault {
            Some(Fault::Cut) => return Err(Closed::Fault),
            Some(Fault::Never) => None,
            Some(Fault::Status { status, code, message, retry_after }) => {
                let refused = registrar.refuse(&Refusal::new(*status, *code, message));
                Some(DpsResponse { retry_after: retry_after.clone(), ..refused })
            }
            Some(Fault::StatusWith { status, code, message, headers }) => {
                let refused = registrar.refuse(&Refusal::new(*status, *code, message));
                let named = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
                Some(DpsResponse { retry_after: named.map(|(_, value)| value.clone()), ..refused })
            }
            Some(Fault::TokenExpired) => Some(registrar.expired(self.caller)),
            Some(Fault::HubMoved) => {
                faults::apply_to_registration(self.cloud, &Fault::HubMoved, self.caller.registration_id.as_str());
                Some(answer())
            }
            Some(Fault::CutAfter(bytes)) => {
                connection.cut_after(*bytes);
                Some(answer())
            }
            Some(Fault::Body { status, bytes, .. }) => {
                Some(DpsResponse { status: *status, body: bytes.clone(), retry_after: None, ..answer() })
            }
            Some(Fault::RetryAfter(retry_after)) => Some(DpsResponse { retry_after: retry_after.clone(), ..answer() }),
            _ => Some(answer()),
        };
        let request_id = request_id.clone();
        // The PUBACK comes before the response, because one SDK requires this order.
        let mut owed = (publish.qos > 0).then_some(Outgoing::Puback(publish.packet_id));
        if fault != Some(Fault::BeforePuback) {
            owed.take().inspect(|it| connection.queue(it));
        }
        match fault {
            Some(Fault::Drip(every)) => connection.drip(every),
            Some(Fault::Delay(time)) => {
                connection.flush().await?;
                sleep(time).await;
            }
            Some(Fault::Stray) => {
                let stray = registrar.refuse(&Refusal::unauthorized());
                self.answer(connection, &stray, wire_id::guid());
            }
            _ => {}
        }
        if let Some(answer) = answer {
            self.answer(connection, &answer, request_id.clone());
            if fault == Some(Fault::Duplicate) {
                self.answer(connection, &answer, request_id);
            }
        }
        owed.inspect(|it| connection.queue(it));
        Ok(())
    }

    /// Publishes a response if the client has subscribed to responses.
    fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        answer: &DpsResponse,
        request_id: String,
    ) {
        let Some(qos) = self.granted else {
            let registration_id = &self.caller.registration_id;
            tracing::info!(%registration_id, "a response is not sent: the client has not subscribed to responses");
            return;
        };
        let topic = ResponseTopic { status: answer.status, request_id, retry_after: answer.retry_after.clone() };
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        connection.queue(&Outgoing::Publish(Publish {
            topic: topic.encode(),
            body: answer.body.clone().into(),
            qos,
            packet_id: if qos == 0 { 0 } else { self.packet_id },
            retain: false,
            duplicate: false,
        }));
    }
}
