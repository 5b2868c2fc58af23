//! Code that the logins to DPS and to hubs share: refuses a CONNECT, and applies the fault that a test has scripted for
//! a CONNECT.

use hubward_proto::dps::DpsUsername;
use hubward_proto::hub::{HubIdentity, HubUsername};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::NOT_AUTHORIZED;
use super::codec::{Connect, Outgoing};
use super::connection::Connection;
use crate::services::cloud::Cloud;
use crate::services::faults;
use crate::state::fault::{Fault, Point};
use crate::state::journal::{EventKind, EventSource, Note};

/// How to close a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Closes the connection after the client has had time to read the last packet.
    Gently,
    /// At once.
    Abruptly,
    /// Keeps the connection open and sends nothing until the client closes the connection.
    Never,
}

/// Refuses a CONNECT with a code.
pub(crate) fn refuse<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, code: u8) -> End {
    connection.queue(&Outgoing::Connack { session_present: false, code });
    End::Gently
}

/// Applies the fault that is scripted for a CONNECT. If the fault ends the connection, returns how to close the
/// connection.
///
/// `known` is true if the device has authenticated. Faults that change a device happen only to an authenticated device.
pub(crate) async fn apply_connect_fault<S: AsyncRead + AsyncWrite + Unpin>(
    cloud: &Cloud,
    connection: &mut Connection<S>,
    point: Point,
    connect: &Connect,
    known: bool,
) -> Option<End> {
    let username = connect.username.as_deref().unwrap_or_default();
    let at_hub = HubUsername::parse(username).ok().map(|it| it.identity).filter(|_| point == Point::HubConnect);
    let at_dps = DpsUsername::parse(username).ok().map(|it| it.registration_id.to_string());
    let who = at_hub.as_ref().map(HubIdentity::client_id).or(at_dps).unwrap_or_else(|| connect.client_id.clone());
    match faults::take_of(cloud, point, &who, known)? {
        Fault::Connack(code) => return Some(refuse(connection, code)),
        Fault::Cut => return Some(End::Abruptly),
        Fault::Never => return Some(End::Never),
        Fault::Delay(time) => sleep(time).await,
        Fault::Drip(every) => connection.drip(every),
        Fault::CutAfter(bytes) => connection.cut_after(bytes),
        Fault::TokenExpired => {
            let note = Note::new(EventKind::Refused, EventSource::Hub).id(&who).code(NOT_AUTHORIZED.into());
            let note = note.message("the token has expired (a scripted fault)");
            cloud.journal.note(match &at_hub {
                Some(identity) => note.hub(identity.host.as_str()),
                None => note,
            });
            return Some(refuse(connection, NOT_AUTHORIZED));
        }
        // Apply the fault to the device, but do not refuse the CONNECT here. After this function returns, the hub
        // checks the login again. It then finds that the device is disabled, deleted or moved, and refuses the CONNECT.
        fault @ (Fault::DeviceDisabled | Fault::DeviceDeleted | Fault::HubMoved) => {
            if let Some(identity) = &at_hub {
                faults::apply_to_device(cloud, &fault, identity.host.as_str(), &who);
            }
        }
        _ => {}
    }
    None
}
