//! Handles the first packet of a connection. The user name of the CONNECT selects DPS or a hub.

use std::sync::Arc;
use std::time::Duration;

use hubward_proto::dps::DpsUsername;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::codec::{Incoming, Malformed};
use super::connect::{End, refuse};
use super::connection::{Closed, Connection};
use super::{dps, hub};
use crate::doors::admission::ConnectionEntry;
use crate::services::cloud::Cloud;
use crate::services::presented::PresentedChain;

/// Time limit for the first packet.
///
/// Source: `[sdk]` Azure/iotedge, edge-hub settings.
const FIRST_PACKET: Duration = Duration::from_secs(60);

/// Source: MQTT 3.1.1, section 3.2.2.3.
const UNACCEPTABLE_PROTOCOL: u8 = 1;

/// Serves one MQTT connection until it ends. When the client has authenticated, the connection acquires a slot.
/// `certificates` are those that the client presented in the TLS handshake.
pub(crate) async fn serve<S>(
    cloud: &Arc<Cloud>,
    stream: S,
    certificates: Option<PresentedChain>,
    entry: &Arc<ConnectionEntry>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection::new(stream, Arc::clone(&cloud.store));
    let end = match timeout(FIRST_PACKET, connection.read()).await {
        Ok(Ok(Incoming::Connect(connect))) => {
            if connect.username.as_deref().is_some_and(DpsUsername::is_dps_username) {
                dps::serve(cloud, &mut connection, *connect, certificates, entry).await
            } else {
                hub::serve(cloud, &mut connection, *connect, certificates, entry).await
            }
        }
        // The standard requires a CONNACK for an unsupported protocol level.
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

#[cfg(test)]
mod tests;
