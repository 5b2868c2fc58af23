//! A hub: the bytes of login and telemetry, acknowledgements, and requests that cannot be sent.

use std::future::poll_fn;
use std::num::NonZeroU16;
use std::sync::Arc;

use hubward_dial::Endpoint;
use hubward_mqtt::{MqttHub, TAG_MAX};
use hubward_transport::{
    DeviceId, Downstream, Fault, HubConnection, HubHost, HubIdentity, HubLogin, HubTransport, Message, ModuleId,
    RefusedBy, SasToken, Stage, Tag, TransportError, TransportKind, Upstream,
};
use tokio::join;

use crate::peer::{CONNACK, Listener, Peer, network};

pub(crate) const TOKEN: &str = "SharedAccessSignature sr=hub.example%2Fdevices%2Fd1&sig=c2VjcmV0&se=1700003600";

pub(crate) fn login(device: &str) -> HubLogin {
    let host = HubHost::new("hub.example").expect("a host");
    HubLogin::new(HubIdentity::new(host, DeviceId::new(device).expect("an id")))
}

pub(crate) fn tag(id: u16) -> Tag {
    Tag(NonZeroU16::new(id).expect("not zero"))
}

pub(crate) fn telemetry(message: Message) -> Upstream {
    Upstream::Telemetry(Arc::new(message))
}

/// Waits until the connection has events, and returns these events.
pub(crate) async fn exchange(connection: &mut dyn HubConnection) -> Result<Vec<Downstream>, TransportError> {
    let mut events = Vec::new();
    poll_fn(|cx| connection.poll_exchange(cx, &mut events)).await.map(|()| events)
}

/// Opens a connection whose pipe holds `capacity` bytes. No byte is exchanged yet.
pub(crate) async fn open(login: &HubLogin, capacity: usize) -> (Box<dyn HubConnection>, Peer) {
    let (dialer, mut listener): (_, Listener) = network(capacity);
    let hub = MqttHub::new(TransportKind::Mqtt, dialer, 8883);
    let token = SasToken::parse(TOKEN).expect("a token");
    let connection = hub.open(login, Some(&token)).await.expect("a connection");
    (connection, listener.accept().await)
}

/// Opens a connection and logs in.
pub(crate) async fn ready() -> (Box<dyn HubConnection>, Peer) {
    ready_with(&login("d1")).await
}

/// Opens a connection and logs in with this login.
pub(crate) async fn ready_with(login: &HubLogin) -> (Box<dyn HubConnection>, Peer) {
    let (mut connection, mut peer) = open(login, 1024 * 1024).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    assert_eq!(events.expect("a login"), [Downstream::Ready { session_present: false, server_time: None }]);
    (connection, peer)
}

#[tokio::test(start_paused = true)]
async fn a_login_and_a_message_have_the_expected_bytes() {
    let (mut connection, mut peer) = open(&login("d1"), 64 * 1024).await;
    assert_eq!(peer.endpoint, Endpoint::new("hub.example", 8883));
    assert!(!connection.has_room(), "not before the login");
    let (events, ()) = join!(exchange(&mut *connection), async {
        // CONNECT: level 4, flags user name + password, keep-alive 60.
        peer.expect(b"\x10\x86\x01\x00\x04MQTT\x04\xc0\x00\x3c\x00\x02d1").await;
        peer.expect(b"\x00\x26hub.example/d1/?api-version=2021-04-12").await;
        peer.expect(b"\x00\x4e").await;
        peer.expect(TOKEN.as_bytes()).await;
        peer.send(b"\x20\x02\x01\x00").await;
    });
    assert_eq!(events.expect("a login"), [Downstream::Ready { session_present: true, server_time: None }]);
    assert!(connection.has_room());
    let message = Message::new("{}").message_id("m 1").property("alert", "true");
    connection.start_send(tag(5), &telemetry(message), false).expect("room");
    connection.start_send(tag(0x0102), &telemetry(Message::new("x")), false).expect("room");
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.expect(b"\x32\x39\x00\x33devices/d1/messages/events/%24.mid=m%201&alert=true\x00\x05{}").await;
        peer.expect(b"\x32\x20\x00\x1bdevices/d1/messages/events/\x01\x02x").await;
        peer.send(b"\x40\x02\x01\x02\x40\x02\x00\x05").await;
    });
    assert_eq!(events.expect("PUBACKs"), [Downstream::Done(tag(0x0102)), Downstream::Done(tag(5))]);
}

#[tokio::test(start_paused = true)]
async fn clean_session_module_and_keep_alive_reach_the_wire() {
    let mut login = login("d1");
    login.identity = login.identity.clone().module(ModuleId::new("m1").expect("an id"));
    login.clean_session = true;
    login.keep_alive = std::time::Duration::from_secs(300);
    login.model_id = Some("dtmi:a;1".into());
    login.user_agent = Some("acme/1".into());
    let (mut connection, mut peer) = open(&login, 64 * 1024).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        let connect = peer.packet().await;
        assert_eq!(connect[3..22], *b"\x00\x04MQTT\x04\xc2\x01\x2c\x00\x05d1/m1\x00\x59", "{}", connect.escape_ascii());
        let name = b"hub.example/d1/m1/?api-version=2021-04-12&DeviceClientType=acme%2F1&model-id=dtmi%3Aa%3B1";
        assert!(connect.windows(name.len()).any(|it| it == name), "{}", connect.escape_ascii());
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    connection.start_send(tag(1), &telemetry(Message::default()), false).expect("room");
    let (_, ()) = join!(exchange(&mut *connection), async {
        peer.expect(b"\x32\x2a\x00\x26devices/d1/modules/m1/messages/events/\x00\x01").await;
        peer.send(b"\x40\x02\x00\x01").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_resent_message_keeps_its_id_and_sets_dup() {
    for (again, first_byte) in [(false, 0x32), (true, 0x3a)] {
        let (mut connection, mut peer) = ready().await;
        connection.start_send(tag(7), &telemetry(Message::new("x")), again).expect("room");
        let (events, ()) = join!(exchange(&mut *connection), async {
            peer.expect(&[first_byte]).await;
            peer.expect(b"\x20\x00\x1bdevices/d1/messages/events/\x00\x07x").await;
            peer.send(b"\x40\x02\x00\x07").await;
        });
        assert_eq!(events.expect("a PUBACK"), [Downstream::Done(tag(7))]);
    }
}

#[tokio::test(start_paused = true)]
async fn unexpected_acknowledgements_are_ignored() {
    let (mut connection, mut peer) = ready().await;
    for id in [1, 2, 3] {
        connection.start_send(tag(id), &telemetry(Message::new("x")), false).expect("room");
    }
    // The client must ignore four packets:
    //
    // * a PUBACK of message 9, which was never sent;
    // * a PUBACK of 0xff00, which is not a tag;
    // * the second PUBACK of message 3;
    // * a SUBACK, because the client made no subscription.
    peer.send(b"\x40\x02\x00\x09\x40\x02\xff\x00\x40\x02\x00\x03\x40\x02\x00\x03\x90\x03\xff\x00\x01").await;
    assert_eq!(exchange(&mut *connection).await.expect("a PUBACK"), [Downstream::Done(tag(3))]);
    peer.send(b"\x40\x02\x00\x03\x40\x02\x00\x01").await;
    assert_eq!(exchange(&mut *connection).await.expect("a PUBACK"), [Downstream::Done(tag(1))]);
    // Id 3 is free again. A second message with this id gets its own acknowledgement.
    connection.start_send(tag(3), &telemetry(Message::new("y")), false).expect("room");
    peer.send(b"\x40\x02\x00\x03").await;
    assert_eq!(exchange(&mut *connection).await.expect("a PUBACK"), [Downstream::Done(tag(3))]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_sent_does_not_affect_others() {
    let (mut connection, mut peer) = ready().await;
    connection.start_send(tag(1), &telemetry(Message::new("x")), false).expect("room");
    for (case, id, message) in [
        ("too large", 2, Message::new(vec![0; 262_145])),
        ("an empty property name", 3, Message::new("").property("", "v")),
        ("a topic too long", 4, Message::new("").property("k", " ".repeat(30_000))),
        ("a tag in use", 1, Message::new("")),
        ("a tag out of range", TAG_MAX + 1, Message::new("")),
    ] {
        let error = connection.start_send(tag(id), &telemetry(message), false).expect_err(case);
        assert!(matches!(error, TransportError::Request(_)), "{case}: {error}");
        assert_eq!(error.fault(), Fault::Request, "{case}");
    }
    for id in [2, 3, 4, TAG_MAX] {
        connection.start_send(tag(id), &telemetry(Message::new("x")), false).expect("the tag was not taken");
    }
    let (events, ()) = join!(exchange(&mut *connection), async {
        for id in [b"\x00\x01", b"\x00\x02", b"\x00\x03", b"\x00\x04", b"\xfe\xff"] {
            peer.expect(b"\x32\x20\x00\x1bdevices/d1/messages/events/").await;
            peer.expect(id).await;
            peer.expect(b"x").await;
        }
        peer.send(b"\x40\x02\xfe\xff").await;
    });
    assert_eq!(events.expect("a PUBACK"), [Downstream::Done(tag(TAG_MAX))]);
}

#[tokio::test(start_paused = true)]
async fn a_device_id_that_is_not_valid_in_a_topic_is_refused_on_sending() {
    let (mut connection, _peer) = open(&login("d#1"), 64 * 1024).await;
    let error = connection.start_send(tag(1), &telemetry(Message::new("")), false).expect_err("a wildcard");
    assert!(matches!(error, TransportError::Request(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_largest_message_fits() {
    let (mut connection, mut peer) = ready().await;
    connection.start_send(tag(1), &telemetry(Message::new(vec![b'x'; 262_144])), false).expect("it fits");
    assert!(!connection.has_room(), "the buffer is full");
    let device = async {
        assert_eq!(exchange(&mut *connection).await.expect("room"), []);
        exchange(&mut *connection).await
    };
    let (events, ()) = join!(device, async {
        // The remaining length is 262,144 + 2 + 27 + 2 = 0x4001f bytes. MQTT encodes it as 0x9f 0x80 0x10.
        peer.expect(b"\x32\x9f\x80\x10\x00\x1bdevices/d1/messages/events/\x00\x01").await;
        peer.expect(&vec![b'x'; 262_144]).await;
        peer.send(b"\x40\x02\x00\x01").await;
    });
    assert_eq!(events.expect("a PUBACK"), [Downstream::Done(tag(1))]);
}

#[tokio::test(start_paused = true)]
async fn the_exchange_returns_the_refusal_of_the_login() {
    for code in 1..=5 {
        let (mut connection, mut peer) = open(&login("d1"), 64 * 1024).await;
        let (result, ()) = join!(exchange(&mut *connection), async {
            peer.packet().await;
            peer.send(&[0x20, 2, 0, code]).await;
        });
        let error = result.expect_err("no login");
        let TransportError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!((refusal.by, refusal.stage), (RefusedBy::Connack(code), Stage::Login));
        assert_eq!(refusal.endpoint, "hub.example:8883");
        let again = exchange(&mut *connection).await.expect_err("the connection stays closed");
        assert!(matches!(again, TransportError::Closed { .. }), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_cannot_be_renewed_in_place() {
    let (mut connection, _peer) = ready().await;
    let token = SasToken::parse(TOKEN).expect("a token");
    let result = poll_fn(|cx| connection.poll_renew(cx, &token)).await;
    assert!(matches!(result, Err(TransportError::Unsupported(_))));
    let (dialer, _listener) = network(1);
    let hub = MqttHub::new(TransportKind::MqttWs, dialer, 443);
    let can = hub.abilities();
    assert!(can.twin && can.methods && can.receive);
    assert!(!can.renew_in_place && !can.abandon && !can.reject);
    assert_eq!((hub.kind(), hub.endpoint(&login("d1"))), (TransportKind::MqttWs, "hub.example:443".to_owned()));
}
