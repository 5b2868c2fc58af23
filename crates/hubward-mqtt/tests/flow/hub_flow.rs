//! A hub: buffers, time, ends and good-byes.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use hubward_transport::{Downstream, HubConnection, Message, Stage, TransportError};
use tokio::join;
use tokio::time::{Instant, sleep};

use crate::hub::{exchange, login, open, ready, tag, telemetry};
use crate::peer::{CONNACK, DISCONNECT, PINGREQ, PINGRESP};

/// One poll: `None` if it is pending.
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
async fn a_thousand_acknowledgements_are_told_at_once() {
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
async fn room_ends_at_64_kib_and_comes_back_when_the_peer_reads() {
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
    // 1,034 bytes each: 640 above 64 KiB, of which the pipe takes 256.
    assert_eq!(sent, 64);
    assert!(poll_once(&mut *connection).await.is_none());
    assert!(!connection.has_room());
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.read(&mut [0; 512]).await;
    });
    assert_eq!(events.expect("room"), [], "room is news enough");
    assert!(connection.has_room());
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_dropped_midway_lose_nothing() {
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
async fn an_idle_connection_pings_and_is_given_up_after_one_and_a_half_keep_alives() {
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
    let error = result.expect_err("nobody answers");
    assert_eq!(start.elapsed().as_secs(), 210);
    assert_eq!(error.to_string(), "hub.example:8883 did not answer within 90s (exchange)");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_answer_shortens_the_patience() {
    let (mut connection, mut peer) = ready().await;
    let start = Instant::now();
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    let (result, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.expect(PINGREQ).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    });
    let error = result.expect_err("nobody answers");
    assert_eq!(start.elapsed().as_secs(), 20);
    assert!(matches!(error, TransportError::Timeout { stage: Stage::Exchange, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_noticed() {
    let (mut connection, mut peer) = open(&login("d1"), 256).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    connection.start_send(tag(1), &telemetry(Message::new(vec![0; 1000])), false).expect("room");
    let start = Instant::now();
    let error = exchange(&mut *connection).await.expect_err("nobody reads");
    assert_eq!(start.elapsed().as_secs(), 20);
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert_eq!(start.elapsed().as_secs(), 20, "a dead connection closes at once");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_counts() {
    let (mut connection, mut peer) = ready().await;
    for id in [1, 2] {
        connection.start_send(tag(id), &telemetry(Message::new("x")), false).expect("room");
    }
    assert!(poll_once(&mut *connection).await.is_none());
    // A takeover: the last PUBACK, half of another packet, and the end.
    peer.send(b"\x40\x02\x00\x01\x40\x02").await;
    drop(peer);
    let mut events = Vec::new();
    let error = poll_fn(|cx| connection.poll_exchange(cx, &mut events)).await.expect_err("the end");
    assert_eq!(events, [Downstream::Done(tag(1))]);
    assert!(matches!(error, TransportError::Closed { stage: Stage::Exchange, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_broken_protocol_ends_the_connection() {
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
async fn closing_sends_what_is_queued_and_says_good_bye() {
    let (mut connection, mut peer) = ready().await;
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    poll_fn(|cx| connection.poll_close(cx)).await;
    peer.expect(b"\x32\x20\x00\x1bdevices/d1/messages/events/\x00\x01x").await;
    peer.expect(DISCONNECT).await;
    assert!(peer.at_end().await);
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert!(exchange(&mut *connection).await.is_err());
}

/// A hub ends an old connection unread when the next one comes: the next one must not come before the
/// last acknowledgement was read.
#[tokio::test(start_paused = true)]
async fn closing_waits_a_moment_until_the_peer_has_read_everything() {
    let (mut connection, mut peer) = ready().await;
    let start = Instant::now();
    let ((), ()) = join!(poll_fn(|cx| connection.poll_close(cx)), async {
        peer.expect(DISCONNECT).await;
        assert!(peer.at_end().await);
        // Something that was under way changes nothing.
        peer.send(b"\x40\x02\x00\x01").await;
        sleep(Duration::from_millis(200)).await;
        drop(peer);
    });
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    poll_fn(|cx| connection.poll_close(cx)).await;

    let (mut connection, _peer) = ready().await;
    let start = Instant::now();
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert_eq!(start.elapsed(), Duration::from_millis(500), "a peer that does not end is not waited for");
}

#[tokio::test(start_paused = true)]
async fn closing_before_the_login_says_nothing_more_than_the_login() {
    let (mut connection, mut peer) = open(&login("d1"), 1024).await;
    poll_fn(|cx| connection.poll_close(cx)).await;
    assert_eq!(peer.packet().await[0], 0x10);
    assert!(peer.at_end().await);
}

#[tokio::test(start_paused = true)]
async fn closing_a_broken_connection_ends() {
    let (mut connection, peer) = ready().await;
    drop(peer);
    exchange(&mut *connection).await.expect_err("the end");
    poll_fn(|cx| connection.poll_close(cx)).await;
}
