//! A hub: buffers, timeouts, and the end of connections.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use hubward_transport::{Downstream, HubConnection, Message, Stage, TransportError};
use tokio::join;
use tokio::time::{Instant, sleep};

use crate::hub::{exchange, login, open, ready, tag, telemetry};
use crate::peer::{CONNACK, DISCONNECT, PINGREQ, PINGRESP};

/// Polls once. Returns `None` if the poll is pending.
async fn poll_once(connection: &mut dyn HubConnection) -> Option<Result<Vec<Downstream>, TransportError>> {
    let mut events = Vec::new();
    poll_fn(|cx| match connection.poll_exchange(cx, &mut events) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
    .map(|result| result.map(|()| events))
}

#[tokio::test(start_paused = true)]
async fn one_poll_returns_a_thousand_acknowledgements() {
    let (mut connection, mut peer) = ready().await;
    let mut acknowledgements = Vec::new();
    for id in 1..=1000_u16 {
        connection.start_send(tag(id), &telemetry(Message::new("x")), false).expect("a tag");
        acknowledgements.extend([0x40, 2]);
        acknowledgements.extend(id.to_be_bytes());
    }
    peer.send(&acknowledgements).await;
    let events = exchange(&mut *connection).await.expect("PUBACKs");
    assert_eq!(events, (1..=1000).map(|id| Downstream::Done(tag(id))).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn there_is_room_up_to_64_kib_and_again_after_the_peer_has_read() {
    let (mut connection, mut peer) = open(&login("d1"), 256).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    let mut sent = 0;
    while connection.has_room() {
        sent += 1;
        connection.start_send(tag(sent), &telemetry(Message::new(vec![b'x'; 1000])), false).expect("room");
    }
    // 64 messages of 1,034 bytes exceed 64 KiB by 640 bytes. The pipe takes only 256 bytes, so more than 64 KiB stay
    // unwritten until the peer has read.
    assert_eq!(sent, 64);
    assert!(poll_once(&mut *connection).await.is_none());
    assert!(!connection.has_room());
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.read(&mut [0; 512]).await;
    });
    assert_eq!(events.expect("room"), [], "the poll is ready because there is room");
    assert!(connection.has_room());
}

#[tokio::test(start_paused = true)]
async fn dropped_polls_lose_nothing() {
    let (mut connection, mut peer) = open(&login("d1"), 7).await;
    let mut connect = Vec::new();
    while connect.len() < 137 {
        assert!(poll_once(&mut *connection).await.is_none());
        let mut part = vec![0; 7.min(137 - connect.len())];
        peer.read(&mut part).await;
        connect.extend(part);
    }
    assert!(connect.ends_with(crate::hub::TOKEN.as_bytes()), "{}", connect.escape_ascii());
    for (position, byte) in CONNACK.iter().enumerate() {
        peer.send(&[*byte]).await;
        let polled = poll_once(&mut *connection).await;
        assert_eq!(polled.is_some(), position == 3);
    }
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    let mut message = Vec::new();
    while message.len() < 34 {
        assert!(poll_once(&mut *connection).await.is_none());
        let mut part = vec![0; 7.min(34 - message.len())];
        peer.read(&mut part).await;
        message.extend(part);
    }
    assert_eq!(message, b"\x32\x20\x00\x1bdevices/d1/messages/events/\x00\x01x");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_pings_and_ends_after_one_and_a_half_keep_alives() {
    let (mut connection, mut peer) = ready().await;
    let start = Instant::now();
    let (result, ()) = join!(exchange(&mut *connection), async {
        for minute in 1..=3 {
            peer.expect(PINGREQ).await;
            assert_eq!(start.elapsed().as_secs(), 60 * minute);
            if minute < 3 {
                peer.send(PINGRESP).await;
            }
        }
    });
    let error = result.expect_err("the peer does not answer");
    assert_eq!(start.elapsed().as_secs(), 210);
    assert_eq!(error.to_string(), "hub.example:8883 did not answer within 90s (exchange)");
}

#[tokio::test(start_paused = true)]
async fn an_unacknowledged_message_shortens_the_allowed_silence() {
    let (mut connection, mut peer) = ready().await;
    let start = Instant::now();
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    let (result, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.expect(PINGREQ).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    });
    let error = result.expect_err("the peer does not answer");
    assert_eq!(start.elapsed().as_secs(), 20);
    assert!(matches!(error, TransportError::Timeout { stage: Stage::Exchange, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_ends_the_connection() {
    let (mut connection, mut peer) = open(&login("d1"), 256).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    connection.start_send(tag(1), &telemetry(Message::new(vec![0; 1000])), false).expect("room");
    let start = Instant::now();
    let error = exchange(&mut *connection).await.expect_err("the peer does not read");
    assert_eq!(start.elapsed().as_secs(), 20);
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert_eq!(start.elapsed().as_secs(), 20, "a dead connection closes at once");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn events_before_the_end_of_a_connection_count() {
    let (mut connection, mut peer) = ready().await;
    for id in [1, 2] {
        connection.start_send(tag(id), &telemetry(Message::new("x")), false).expect("room");
    }
    assert!(poll_once(&mut *connection).await.is_none());
    // The hub closes the connection after a PUBACK and half of another packet.
    peer.send(b"\x40\x02\x00\x01\x40\x02").await;
    drop(peer);
    let mut events = Vec::new();
    let error = poll_fn(|cx| connection.poll_exchange(cx, &mut events)).await.expect_err("the end");
    assert_eq!(events, [Downstream::Done(tag(1))]);
    assert!(matches!(error, TransportError::Closed { stage: Stage::Exchange, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_ends_the_connection() {
    for bytes in
        [&b"\x20\x02\x00\x00"[..], b"\x50\x02\x00\x01", b"\x40\x02\x00\x00", b"\xe0\x00", b"\x30\xff\xff\xff\x7f"]
    {
        let (mut connection, mut peer) = ready().await;
        peer.send(bytes).await;
        let error = exchange(&mut *connection).await.expect_err("broken");
        assert!(matches!(error, TransportError::Protocol { stage: Stage::Exchange, .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_sends_queued_bytes_and_disconnect() {
    let (mut connection, mut peer) = ready().await;
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    poll_fn(|cx| connection.poll_close(cx)).await;
    peer.expect(b"\x32\x20\x00\x1bdevices/d1/messages/events/\x00\x01x").await;
    peer.expect(DISCONNECT).await;
    assert!(peer.at_end().await);
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert!(exchange(&mut *connection).await.is_err());
}

/// When a device connects again, a hub closes the old connection of this device and does not read its remaining bytes.
/// The device must therefore wait until the hub has read the last acknowledgement.
#[tokio::test(start_paused = true)]
async fn closing_waits_briefly_until_the_peer_has_read_everything() {
    let (mut connection, mut peer) = ready().await;
    let start = Instant::now();
    let ((), ()) = join!(poll_fn(|cx| connection.poll_close(cx)), async {
        peer.expect(DISCONNECT).await;
        assert!(peer.at_end().await);
        // The client ignores bytes that arrive while it waits.
        peer.send(b"\x40\x02\x00\x01").await;
        sleep(Duration::from_millis(200)).await;
        drop(peer);
    });
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    poll_fn(|cx| connection.poll_close(cx)).await;

    let (mut connection, _peer) = ready().await;
    let start = Instant::now();
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert_eq!(start.elapsed(), Duration::from_millis(500), "closing waits no longer for a peer that does not close");
}

#[tokio::test(start_paused = true)]
async fn closing_before_the_login_sends_only_the_login() {
    let (mut connection, mut peer) = open(&login("d1"), 1024).await;
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert_eq!(peer.packet().await[0], 0x10);
    assert!(peer.at_end().await);
}

#[tokio::test(start_paused = true)]
async fn closing_a_failed_connection_returns() {
    let (mut connection, peer) = ready().await;
    drop(peer);
    exchange(&mut *connection).await.expect_err("the end");
    poll_fn(|cx| connection.poll_close(cx)).await;
}
