//! DPS: connections that end, are silent, are reused or are opened again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use hubward_dial::{ByteStream, DialError, Dialer, Endpoint};
use hubward_mqtt::MqttDps;
use hubward_transport::{DpsTransport, Stage, TransportError, TransportKind};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::join;
use tokio::time::{Instant, sleep};

use crate::dps::{ASSIGNING, client, operation_id, registration, token};
use crate::peer::{CONNACK, DISCONNECT, Listener, PINGREQ, PINGRESP, Peer, network, publish};

/// Reads a request and answers it.
async fn answer(peer: &mut Peer, request_id: &str) {
    let request = peer.packet().await;
    assert_eq!(request[0], 0x32, "a request, not {request:02x?}");
    peer.send(&publish(None, &format!("$dps/registrations/res/202/?$rid={request_id}"), ASSIGNING)).await;
}

/// Accepts a connection, answers one request, and returns the connection.
async fn serve_one(listener: &mut Listener, request_id: &str) -> Peer {
    let mut peer = listener.accept_subscribed().await;
    answer(&mut peer, request_id).await;
    peer
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_names_its_stage_and_the_next_request_works() {
    for stage in [Stage::Login, Stage::Subscribe, Stage::Register, Stage::Poll] {
        let (mut dps, _dialer, mut listener) = client();
        let (registration, operation_id) = (registration("dev-1"), operation_id());
        let server = async {
            let mut peer = match stage {
                Stage::Login => listener.accept().await,
                Stage::Subscribe => listener.accept_login().await,
                _ => listener.accept_subscribed().await,
            };
            if stage == Stage::Poll {
                answer(&mut peer, "1").await;
            }
            // The server has read the request, so the transport must not repeat it.
            peer.packet().await;
            drop(peer);
            let next = if stage == Stage::Poll { "3" } else { "2" };
            serve_one(&mut listener, next).await
        };
        let device = async {
            if stage == Stage::Poll {
                dps.register(&registration, None).await.expect("an answer");
            }
            let result = match stage {
                Stage::Poll => dps.operation_status(&registration, &operation_id, None).await,
                _ => dps.register(&registration, None).await,
            };
            let error = result.expect_err("the connection ended");
            assert!(matches!(error, TransportError::Closed { .. }), "{error}");
            assert_eq!(error.stage(), Some(stage), "{error}");
            assert!(error.is_retryable());
            dps.register(&registration, None).await.expect("an answer on a new connection");
        };
        let (_peer, ()) = join!(server, device);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_connection_after_20_seconds() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let start = Instant::now();
    let (result, _peer) = join!(dps.register(&registration, None), async {
        let mut peer = listener.accept_subscribed().await;
        peer.packet().await;
        peer.expect(PINGREQ).await;
        assert_eq!(start.elapsed().as_secs(), 10);
        peer
    });
    let error = result.expect_err("the peer does not answer");
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(error.to_string(), "dps.example:8883 did not answer within 20s (register)");
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn silence_after_subscribe_ends_the_connection() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let (result, _peer) = join!(dps.register(&registration, None), listener.accept_login());
    assert_eq!(result.expect_err("the peer does not answer").stage(), Some(Stage::Subscribe));
}

#[tokio::test(start_paused = true)]
async fn the_transport_sets_no_time_limit_for_the_login() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let (result, _peer) = join!(dps.register(&registration, None), async {
        let mut peer = listener.accept().await;
        peer.packet().await;
        sleep(Duration::from_secs(1000)).await;
        peer.send(CONNACK).await;
        peer.packet().await;
        peer.send(b"\x90\x03\xff\x00\x01").await;
        answer(&mut peer, "1").await;
        peer
    });
    result.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn the_transport_waits_for_a_slow_service_that_answers_pings() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let start = Instant::now();
    let (result, _peer) = join!(dps.register(&registration, None), async {
        let mut peer = listener.accept_subscribed().await;
        peer.packet().await;
        for _ in 0..5 {
            peer.expect(PINGREQ).await;
            peer.send(PINGRESP).await;
        }
        peer.send(&publish(None, "$dps/registrations/res/202/?$rid=1", ASSIGNING)).await;
        peer
    });
    result.expect("an answer");
    assert_eq!(start.elapsed().as_secs(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_while_idle_is_opened_again() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let (result, peer) = join!(dps.register(&registration, None), serve_one(&mut listener, "1"));
    result.expect("an answer");
    drop(peer);
    let operation_id = operation_id();
    let (result, _peer) =
        join!(dps.operation_status(&registration, &operation_id, None), serve_one(&mut listener, "2"));
    result.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_reused_between_polls_but_not_beyond_its_keep_alive() {
    let (mut dps, _dialer, mut listener) = client();
    let (registration, operation_id) = (registration("dev-1"), operation_id());
    let (result, mut peer) = join!(dps.register(&registration, None), serve_one(&mut listener, "1"));
    result.expect("an answer");
    sleep(Duration::from_secs(59)).await;
    let (result, ()) = join!(dps.operation_status(&registration, &operation_id, None), async {
        // The previous request is still unacknowledged, so the client pings the server.
        peer.expect(PINGREQ).await;
        peer.send(PINGRESP).await;
        answer(&mut peer, "2").await;
    });
    result.expect("an answer");
    assert!(listener.is_quiet());
    sleep(Duration::from_secs(60)).await;
    let (result, _peer) = join!(dps.operation_status(&registration, &operation_id, None), async {
        peer.expect(DISCONNECT).await;
        serve_one(&mut listener, "3").await
    });
    result.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn another_identity_gets_its_own_connection() {
    let (mut dps, _dialer, mut listener) = client();
    let (result, mut peer) =
        join!(async { dps.register(&registration("dev-1"), None).await }, serve_one(&mut listener, "1"));
    result.expect("an answer");
    let (result, _peer) = join!(async { dps.register(&registration("dev-2"), None).await }, async {
        peer.expect(DISCONNECT).await;
        assert!(peer.at_end().await);
        serve_one(&mut listener, "2").await
    });
    result.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn only_a_refused_credential_closes_the_connection() {
    for (status, kept) in [(401, false), (404, true), (429, true), (503, true)] {
        let (mut dps, _dialer, mut listener) = client();
        let (registration, token) = (registration("dev-1"), token());
        let (result, mut peer) = join!(dps.register(&registration, Some(&token)), async {
            let mut peer = listener.accept_subscribed().await;
            peer.packet().await;
            peer.send(&publish(None, &format!("$dps/registrations/res/{status}/?$rid=1"), b"{}")).await;
            peer
        });
        result.expect_err("a refusal");
        let (result, _peer) = join!(dps.register(&registration, Some(&token)), async {
            if kept {
                answer(&mut peer, "2").await;
                peer
            } else {
                serve_one(&mut listener, "2").await
            }
        });
        result.expect("an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_login_closes_its_connection() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let mut peer = tokio::select! {
        _ = dps.register(&registration, None) => panic!("the peer has not answered"),
        peer = async {
            let mut peer = listener.accept().await;
            peer.packet().await;
            peer
        } => peer,
    };
    assert!(peer.at_end().await);
    let (result, _peer) = join!(dps.register(&registration, None), serve_one(&mut listener, "2"));
    result.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let (dialer, mut listener) = network(16);
    let mut dps = MqttDps::new(TransportKind::MqttWs, Endpoint::new("dps.example", 443), dialer);
    let registration = registration("dev-1");
    let operation_id = operation_id();
    let (result, peer) = join!(dps.register(&registration, None), serve_one(&mut listener, "1"));
    result.expect("an answer");
    // Half a request fills the pipe.
    tokio::select! {
        _ = dps.operation_status(&registration, &operation_id, None) => panic!("the peer does not read"),
        () = sleep(Duration::from_millis(1)) => {}
    }
    let start = Instant::now();
    dps.close().await;
    assert!(start.elapsed() <= Duration::from_secs(1));
    dps.close().await;
    drop(peer);
}

#[test]
fn a_payload_too_large_for_dps_is_refused_before_anything_is_sent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1").payload("x".repeat(96 * 1024).into());
    let error = runtime.block_on(dps.register(&registration, None)).expect_err("too large");
    assert!(matches!(error, TransportError::Request(_)), "{error}");
    assert!(listener.is_quiet());
}

/// A stream whose writes fail after `cut` is set. Its reads still wait for data.
#[derive(Debug)]
struct HalfDead {
    inner: DuplexStream,
    cut: Arc<AtomicBool>,
}

impl AsyncRead for HalfDead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for HalfDead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Wraps the streams of another dialer. Only the writes of the first connection can fail.
#[derive(Debug)]
struct CuttingDialer {
    inner: Arc<crate::peer::TestDialer>,
    dialled: AtomicU32,
    cut: Arc<AtomicBool>,
}

#[async_trait]
impl Dialer for CuttingDialer {
    async fn dial(&self, to: &Endpoint) -> Result<Box<dyn ByteStream>, DialError> {
        let mut outer = self.inner.dial(to).await?;
        if self.dialled.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(outer);
        }
        let (inner, mut far) = duplex(64 * 1024);
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut outer).await });
        Ok(Box::new(HalfDead { inner, cut: self.cut.clone() }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_write_fails_before_its_first_byte_is_sent_on_a_new_connection() {
    let (inner, mut listener) = network(64 * 1024);
    let cut = Arc::new(AtomicBool::new(false));
    let dialer = CuttingDialer { inner, dialled: AtomicU32::new(0), cut: cut.clone() };
    let mut dps = MqttDps::new(TransportKind::Mqtt, Endpoint::new("dps.example", 8883), Arc::new(dialer));
    let (registration, operation_id) = (registration("dev-1"), operation_id());
    let (result, _peer) = join!(dps.register(&registration, None), serve_one(&mut listener, "1"));
    result.expect("an answer");
    cut.store(true, Ordering::Relaxed);
    let (result, _peer) =
        join!(dps.operation_status(&registration, &operation_id, None), serve_one(&mut listener, "2"));
    result.expect("an answer");
}
