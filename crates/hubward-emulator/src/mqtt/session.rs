//! The loop of a connection that has been accepted, for DPS and hubs alike.

use std::pin::pin;
use std::time::Duration;

use hubward_proto::limits::KEEP_ALIVE_HARD_CAP;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::codec::Incoming;
use super::{Closed, Connection, End};
use crate::store::Why;

/// What a service does with packets.
pub(crate) trait Session<S> {
    /// What happens without the client.
    type Event: Send;

    /// Handles one packet; answers are queued, and sent when no more packets wait.
    fn handle(
        &mut self,
        connection: &mut Connection<S>,
        packet: Incoming,
    ) -> impl Future<Output = Result<(), Closed>> + Send;

    /// The next thing that happens without the client; never, where nothing does. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Self::Event> + Send;

    /// Handles it, as [`Session::handle`] does with a packet.
    fn event(
        &mut self,
        connection: &mut Connection<S>,
        event: Self::Event,
    ) -> impl Future<Output = Result<(), Closed>> + Send;
}

/// What ends a connection besides the client.
pub(crate) struct Bounds<F> {
    /// Of the CONNECT, in seconds.
    pub(crate) keep_alive: u16,
    /// Another connection of the same identity, or an operator.
    pub(crate) ended: oneshot::Receiver<Why>,
    /// The token's age.
    pub(crate) expired: F,
}

/// Runs a connection to its end; says why it ended.
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
            why = &mut ended => return told(why.ok()),
            () = &mut expired => return Closed::Expired,
            // Before packets, or a client that sends without a pause would hear nothing.
            event = session.next() => match session.event(connection, event).await {
                Ok(()) => continue,
                Err(why) => return why,
            },
            // What is sent to a client does not make it less silent.
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
                    // What else is in the buffer comes too late.
                    Ok(why) => {
                        let _ = connection.flush().await;
                        return told(Some(why));
                    }
                },
                Err(Closed::Fault) => return Closed::Fault,
                Err(why) => {
                    // What was done before the wrong packet is still answered, if that is possible.
                    let _ = connection.flush().await;
                    return why;
                }
            }
        }
    }
}

/// Why a connection has to end; without a word its place among the connections is gone.
const fn told(why: Option<Why>) -> Closed {
    match why {
        Some(Why::TakenOver) => Closed::TakenOver,
        Some(Why::Dropped) => Closed::Fault,
        Some(Why::NotAllowed) | None => Closed::NotAllowed,
    }
}

/// How the connection of a client is closed: gently, unless nobody would notice.
pub(crate) fn end_of(why: &Closed) -> End {
    match why {
        Closed::Fault | Closed::Slow | Closed::Broken(_) | Closed::Lost(_) => End::Abruptly,
        _ => End::Gently,
    }
}

/// One and a half times the keep-alive, with a hard cap; none is the cap.
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
