//! Handles the first packet of a connection: the user name of the CONNECT selects DPS or a hub.

use std::sync::Arc;
use std::time::Duration;

use hubward_proto::dps::DpsUsername;
use hubward_proto::hub::{HubIdentity, HubUsername};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::NOT_AUTHORIZED;
use super::codec::{Connect, Incoming, Malformed, Outgoing};
use super::connection::{Closed, Connection};
use crate::admission::ConnectionEntry;
use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;
use crate::{dps, hub};

/// How to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After the client has had time to read the last packet.
    Gently,
    /// At once.
    Abruptly,
    /// The emulator does not close it: it stays open and silent until the client closes it.
    Never,
}

/// Serves one MQTT connection to its end. The connection acquires a slot when its client has authenticated.
pub(crate) async fn serve<S>(shared: &Arc<Shared>, stream: S, entry: &Arc<ConnectionEntry>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection::new(stream, Arc::clone(&shared.store));
    let end = match timeout(FIRST_PACKET, connection.read()).await {
        Ok(Ok(Incoming::Connect(connect))) => {
            if connect.username.as_deref().is_some_and(DpsUsername::is_dps_username) {
                dps::serve_mqtt(shared, &mut connection, *connect, entry).await
            } else {
                hub::serve_mqtt(shared, &mut connection, *connect, entry).await
            }
        }
        // The standard requires a CONNACK in this case.
        Ok(Err(Closed::Malformed(Malformed::Level))) => {
            tracing::info!("a client does not use MQTT 3.1.1");
            refuse(&mut connection, UNACCEPTABLE_PROTOCOL)
        }
        Ok(Ok(_)) => {
            tracing::info!("a client's first packet is not CONNECT");
            End::Abruptly
        }
        Ok(Err(why)) => {
            tracing::debug!(%why, "a connection ended before CONNECT");
            End::Abruptly
        }
        Err(_) => {
            tracing::debug!("a client sent no CONNECT in time");
            End::Abruptly
        }
    };
    match end {
        End::Gently => connection.close_gently().await,
        End::Abruptly => {}
        End::Never => connection.hold().await,
    }
}

/// Refuses a CONNECT with a code.
pub(crate) fn refuse<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, code: u8) -> End {
    connection.queue(&Outgoing::Connack { session_present: false, code });
    End::Gently
}

/// Applies the fault that is scripted for a CONNECT, and returns how to close the connection if the fault ends it.
/// `known` is whether the device has authenticated; only then do faults that change the device itself happen.
pub(crate) async fn apply_connect_fault<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    connection: &mut Connection<S>,
    point: Point,
    connect: &Connect,
    known: bool,
) -> Option<End> {
    let username = connect.username.as_deref().unwrap_or_default();
    let at_hub = HubUsername::parse(username).ok().map(|it| it.identity).filter(|_| point == Point::HubConnect);
    let at_dps = DpsUsername::parse(username).ok().map(|it| it.registration_id.to_string());
    let who = at_hub.as_ref().map(HubIdentity::client_id).or(at_dps).unwrap_or_else(|| connect.client_id.clone());
    match shared.take_fault_of(point, &who, known)? {
        Fault::Connack(code) => return Some(refuse(connection, code)),
        Fault::Cut => return Some(End::Abruptly),
        Fault::Never => return Some(End::Never),
        Fault::Delay(time) => sleep(time).await,
        Fault::Drip(every) => connection.drip(every),
        Fault::CutAfter(bytes) => connection.cut_after(bytes),
        Fault::TokenExpired => {
            let note = Note::new(EventKind::Refused, EventSource::Hub).id(&who).code(NOT_AUTHORIZED.into());
            let note = note.message("the token has expired (a scripted fault)");
            shared.journal.note(match &at_hub {
                Some(identity) => note.hub(identity.host.as_str()),
                None => note,
            });
            return Some(refuse(connection, NOT_AUTHORIZED));
        }
        // The login, which follows, finds the changed device.
        fault @ (Fault::DeviceDisabled | Fault::DeviceDeleted | Fault::HubMoved) => {
            if let Some(identity) = &at_hub {
                shared.apply_fault_to_device(&fault, identity.host.as_str(), &who);
            }
        }
        _ => {}
    }
    None
}

/// Time limit for the first packet.
///
/// Source: `[sdk]` Azure/iotedge, edge-hub settings.
const FIRST_PACKET: Duration = Duration::from_secs(60);

/// Source: MQTT 3.1.1, section 3.2.2.3.
const UNACCEPTABLE_PROTOCOL: u8 = 1;

#[cfg(test)]
mod tests;
