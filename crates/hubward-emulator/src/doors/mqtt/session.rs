//! The main loop of a connection after CONNACK, for DPS and hubs.

use std::pin::pin;
use std::time::Duration;

use hubward_proto::limits::KEEP_ALIVE_HARD_CAP;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::codec::Incoming;
use super::{Closed, Connection, End};
use crate::state::model::EndReason;

/// The service behind a connection: DPS or a hub.
pub(crate) trait Session<S> {
    /// An event that does not come from the client, such as a message to the client.
    type Event: Send;

    /// Handles one packet and queues the answers. The main loop sends the answers when it has handled all received
    /// packets, or earlier if many bytes are queued.
    fn handle(
        &mut self,
        connection: &mut Connection<S>,
        packet: Incoming,
    ) -> impl Future<Output = Result<(), Closed>> + Send;

    /// Waits for the next event. Never returns if the service has no events. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Self::Event> + Send;

    /// Handles an event as [`Session::handle`] handles a packet.
    fn event(
        &mut self,
        connection: &mut Connection<S>,
        event: Self::Event,
    ) -> impl Future<Output = Result<(), Closed>> + Send;
}

/// Reasons other than the client's own packets that end a connection.
pub(crate) struct Bounds<F> {
    /// The keep-alive of the CONNECT, in seconds.
    pub(crate) keep_alive: u16,
    /// The store sends the reason here when this connection must end. For example, the same device has connected again,
    /// an operator has closed this connection, or the device has been disabled or deleted.
    pub(crate) ended: oneshot::Receiver<EndReason>,
    /// Resolves when the token has expired.
    pub(crate) expired: F,
}

/// Runs a connection to its end and returns why it ended.
pub(crate) async fn run<S, F>(
    connection: &mut Connection<S>,
    session: &mut impl Session<S>,
    bounds: Bounds<F>,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = ()> + Send,
{
    let silence = allowed_silence(bounds.keep_alive);
    let mut silent = Instant::now() + silence;
    let (mut ended, mut expired) = (bounds.ended, pin!(bounds.expired));
    loop {
        if let Err(why) = connection.flush().await {
            return why;
        }
        let packet = tokio::select! {
            biased;
            why = &mut ended => return closed(why.ok()),
            () = &mut expired => return Closed::Expired,
            // Check for events before packets. Otherwise, a client that sends without a pause would never get an event.
            event = session.next() => match session.event(connection, event).await {
                Ok(()) => continue,
                Err(why) => return why,
            },
            // Only packets from the client restart its keep-alive.
            packet = timeout_at(silent, connection.read()) => match packet {
                Ok(Ok(packet)) => packet,
                Ok(Err(why)) => return why,
                Err(_) => return Closed::Silent,
            },
        };
        silent = Instant::now() + silence;
        let mut next = Some(packet);
        while let Some(packet) = next.take() {
            let handled = match session.handle(connection, packet).await {
                Ok(()) if connection.is_full() => connection.flush().await,
                other => other,
            };
            match handled.and_then(|()| connection.buffered()) {
                Ok(None) => {}
                Ok(packet) => match ended.try_recv() {
                    Err(_) => next = packet,
                    // The remaining buffered packets are not handled.
                    Ok(why) => {
                        let _ = connection.flush().await;
                        return closed(Some(why));
                    }
                },
                Err(Closed::Fault) => return Closed::Fault,
                Err(why) => {
                    // Still sends the answers to earlier packets, if possible.
                    let _ = connection.flush().await;
                    return why;
                }
            }
        }
    }
}

/// Converts the reason for which the store ends a connection. The reason is `None` if the store has removed the
/// connection from its list without giving a reason.
const fn closed(why: Option<EndReason>) -> Closed {
    match why {
        Some(EndReason::TakenOver) => Closed::TakenOver,
        Some(EndReason::Dropped) => Closed::Fault,
        Some(EndReason::NotAllowed) | None => Closed::NotAllowed,
    }
}

/// Returns how to close a connection.
///
/// Returns [`End::Abruptly`] if a fault, a slow client, or an error of the network or the disk ended the connection.
/// Otherwise returns [`End::Gently`].
pub(crate) fn end_of(why: &Closed) -> End {
    match why {
        Closed::Fault | Closed::Slow | Closed::Broken(_) | Closed::Lost(_) => End::Abruptly,
        _ => End::Gently,
    }
}

/// Returns how long a client may be silent: 1.5 times the keep-alive, but at most [`KEEP_ALIVE_HARD_CAP`]. If the
/// keep-alive is 0, returns [`KEEP_ALIVE_HARD_CAP`].
///
/// Source: MQTT 3.1.1, section 3.1.2.10; `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Default
/// keep-alive time-out"; 0: `[sdk]` Azure/azure-iot-protocol-gateway.
fn allowed_silence(keep_alive: u16) -> Duration {
    match keep_alive {
        0 => KEEP_ALIVE_HARD_CAP,
        seconds => Duration::from_millis(1500 * u64::from(seconds)).min(KEEP_ALIVE_HARD_CAP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_bounded() {
        for (keep_alive, millis) in [(0, 1_767_000), (1, 1_500), (60, 90_000), (1177, 1_765_500), (65_535, 1_767_000)] {
            assert_eq!(allowed_silence(keep_alive), Duration::from_millis(millis), "{keep_alive}");
        }
    }
}
