//! A hub: twins and methods. The topics are copied by hand from `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.

use hubward_transport::{
    Call, CallId, Downstream, Fault, Feature, HubConnection, ModuleId, Refusal, RefusedBy, Reply, Stage, Tag,
    TransportError, Upstream,
};
use tokio::join;
use tokio::time::Instant;

use crate::hub::{exchange, login, open, ready, tag, telemetry};
use crate::peer::{CONNACK, PINGREQ, PINGRESP, Peer, publish};

const SUBSCRIBE_TWIN: &[u8] = b"\x82\x17\xff\x00\x00\x12$iothub/twin/res/#\x00";
const SUBSCRIBE_METHODS: &[u8] = b"\x82\x1b\xff\x01\x00\x16$iothub/methods/POST/#\x00";
const SUBSCRIBE_DESIRED: &[u8] = b"\x82\x2c\xff\x02\x00\x27$iothub/twin/PATCH/properties/desired/#\x00";
const SUBSCRIBE_DEVICE_BOUND: &[u8] = b"\x82\x26\xff\x03\x00\x21devices/d1/messages/devicebound/#\x01";

fn get(number: u16) -> (Tag, Upstream) {
    (tag(number), Upstream::TwinGet)
}

fn patch(number: u16, body: &'static str) -> (Tag, Upstream) {
    (tag(number), Upstream::ReportedPatch(body.into()))
}

fn start(connection: &mut dyn HubConnection, (tag, what): (Tag, Upstream)) {
    connection.start_send(tag, &what, false).expect("room");
}

/// Reads a PUBLISH at QoS 0 and returns its topic and body.
async fn published(peer: &mut Peer) -> (String, String) {
    let packet = peer.packet().await;
    assert_eq!(packet[0], 0x30, "QoS 0: {}", packet.escape_ascii());
    assert!(packet[1] < 0x80, "a short packet");
    let (length, rest) = packet[2..].split_at(2);
    let (topic, body) = rest.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
    (String::from_utf8_lossy(topic).into_owned(), String::from_utf8_lossy(body).into_owned())
}

fn refused(id: u16, status: u16, said: (Option<u32>, Option<&str>, Option<&str>)) -> Downstream {
    let mut refusal = Refusal::new("hub.example:8883".into(), Stage::Exchange, RefusedBy::Status(status));
    refusal.error_code = said.0;
    refusal.message = said.1.map(str::to_owned);
    refusal.tracking_id = said.2.map(str::to_owned);
    Downstream::Refused(tag(id), Box::new(refusal))
}

#[tokio::test(start_paused = true)]
async fn several_subscriptions_are_sent_at_once_and_granted_in_any_order() {
    let (mut connection, mut peer) = ready().await;
    for (id, feature) in
        [(40_000, Feature::TwinResponses), (7, Feature::Methods), (8, Feature::Desired), (9, Feature::CloudToDevice)]
    {
        connection.start_send(tag(id), &Upstream::Subscribe(feature), false).expect("room");
    }
    let (events, ()) = join!(exchange(&mut *connection), async {
        for packet in [SUBSCRIBE_TWIN, SUBSCRIBE_METHODS, SUBSCRIBE_DESIRED, SUBSCRIBE_DEVICE_BOUND] {
            peer.expect(packet).await;
        }
        // SUBACKs: granted at QoS 1 and 0, refused, with an unknown id, and repeated.
        peer.send(
            b"\x90\x03\xff\x03\x01\x90\x03\xff\x01\x00\x90\x03\xff\x02\x80\x90\x03\xff\x50\x00\x90\x03\xff\x03\x01",
        )
        .await;
    });
    let refusal = Refusal::new("hub.example:8883".into(), Stage::Subscribe, RefusedBy::Suback);
    let expected = [Downstream::Done(tag(9)), Downstream::Done(tag(7)), Downstream::Refused(tag(8), Box::new(refusal))];
    assert_eq!(events.expect("SUBACKs"), expected);
    peer.send(b"\x90\x03\xff\x00\x00").await;
    assert_eq!(exchange(&mut *connection).await.expect("a SUBACK"), [Downstream::Done(tag(40_000))]);
}

#[tokio::test(start_paused = true)]
async fn a_module_subscribes_to_inputs_and_a_device_to_messages() {
    let mut module = login("d1");
    module.identity = module.identity.clone().module(ModuleId::new("m1").expect("an id"));
    let (mut connection, mut peer) = open(&module, 64 * 1024).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    connection.start_send(tag(1), &Upstream::Subscribe(Feature::Inputs), false).expect("room");
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.expect(b"\x82\x23\xff\x00\x00\x1edevices/d1/modules/m1/inputs/#\x01").await;
        peer.send(b"\x90\x03\xff\x00\x01").await;
    });
    assert_eq!(events.expect("a SUBACK"), [Downstream::Done(tag(1))]);

    let (mut device, _peer) = ready().await;
    for (connection, feature) in [(&mut connection, Feature::CloudToDevice), (&mut device, Feature::Inputs)] {
        let error = connection.start_send(tag(2), &Upstream::Subscribe(feature), false).expect_err("no such thing");
        assert!(matches!(error, TransportError::Unsupported(_)), "{feature}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_id_with_a_wildcard_can_subscribe_to_methods_only() {
    for id in ["d#1", "d+1"] {
        let (mut connection, _peer) = open(&login(id), 64 * 1024).await;
        let error = connection.start_send(tag(1), &Upstream::Subscribe(Feature::CloudToDevice), false);
        assert!(matches!(error, Err(TransportError::Request(_))), "{id}: {error:?}");
        connection.start_send(tag(1), &Upstream::Subscribe(Feature::Methods), false).expect("no id in it");
    }
}

#[tokio::test(start_paused = true)]
async fn twin_requests_get_their_responses() {
    let (mut connection, mut peer) = ready().await;
    start(&mut *connection, get(40_000));
    start(&mut *connection, patch(40_001, r#"{"fan":{"speed":3},"old":null}"#));
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.expect(b"\x30\x20\x00\x1e$iothub/twin/GET/?$rid=40000-1").await;
        let (topic, body) = published(&mut peer).await;
        assert_eq!(topic, "$iothub/twin/PATCH/properties/reported/?$rid=40001-2");
        assert_eq!(body, r#"{"fan":{"speed":3},"old":null}"#);
        peer.send(&publish(None, "$iothub/twin/res/204/?$rid=40001-2&$version=8", b"")).await;
        let twin = br#"{"desired":{"$version":4},"reported":{"$version":7}}"#;
        peer.send(&publish(None, "$iothub/twin/res/200/?$rid=40000-1", twin)).await;
    });
    let twin = Downstream::Twin(tag(40_000), r#"{"desired":{"$version":4},"reported":{"$version":7}}"#.into());
    assert_eq!(events.expect("answers"), [Downstream::Reported(tag(40_001), Some(8)), twin]);
}

#[tokio::test(start_paused = true)]
async fn each_status_of_a_response_has_its_documented_meaning() {
    let body =
        r#"{"errorCode":429001,"message":"Slow\r\n down","trackingId":"t-1","timestampUtc":"2026-01-01T00:00:00Z"}"#;
    let (code, words, id) = (Some(429_001), Some("Slow down"), Some("t-1"));
    for (what, topic, body, expected) in [
        (get(5), "200/?$rid=5-1&$version=3", "{}", Downstream::Twin(tag(5), "{}".into())),
        (patch(5, "{}"), "204/?$rid=5-1&$version=9", "", Downstream::Reported(tag(5), Some(9))),
        (patch(5, "{}"), "204/?$version=9&$rid=5-1", "", Downstream::Reported(tag(5), Some(9))),
        (patch(5, "{}"), "204/?$rid=5-1", "", Downstream::Reported(tag(5), None)),
        (patch(5, "{}"), "200/?$rid=5-1&$version=9", "", Downstream::Reported(tag(5), Some(9))),
        (get(5), "204/?$rid=5-1", "", refused(5, 204, (None, None, None))),
        (get(5), "429/?$rid=5-1", body, refused(5, 429, (code, words, id))),
        (patch(5, "{}"), "400/?$rid=5-1", "<html>", refused(5, 400, (None, None, None))),
        (patch(5, "{}"), "413/?$rid=5-1", "", refused(5, 413, (None, None, None))),
        (get(5), "503/?$rid=5-1", "{\"message\":7}", refused(5, 503, (None, None, None))),
    ] {
        let (mut connection, mut peer) = ready().await;
        start(&mut *connection, what);
        peer.send(&publish(None, &format!("$iothub/twin/res/{topic}"), body.as_bytes())).await;
        assert_eq!(exchange(&mut *connection).await.expect("an answer"), [expected], "{topic}");
    }
    let throttled = TransportError::Refused(match refused(5, 429, (None, None, None)) {
        Downstream::Refused(_, refusal) => refusal,
        other => panic!("{other:?}"),
    });
    assert_eq!((throttled.fault(), throttled.is_retryable()), (Fault::Throttled, true));
}

#[tokio::test(start_paused = true)]
async fn twin_responses_that_answer_no_request_are_ignored() {
    let (mut connection, mut peer) = ready().await;
    start(&mut *connection, get(40_000));
    for topic in [
        "$iothub/twin/res/200/?$rid=40000-2",
        "$iothub/twin/res/200/?$rid=40001-1",
        "$iothub/twin/res/200/?$rid=40000",
        "$iothub/twin/res/200/?$rid=x",
        "$iothub/twin/res/200/?$rid=",
        "$iothub/twin/res/ok/?$rid=40000-1",
        "$iothub/twin/res/",
    ] {
        peer.send(&publish(None, topic, b"{}")).await;
    }
    peer.send(&publish(None, "$iothub/twin/res/200/?$rid=40000-1", b"{\"n\":1}")).await;
    peer.send(&publish(None, "$iothub/twin/res/200/?$rid=40000-1", b"{\"n\":2}")).await;
    let events = exchange(&mut *connection).await.expect("an answer");
    let unreadable = || Downstream::Unreadable(None);
    let expected = [unreadable(), unreadable(), unreadable(), Downstream::Twin(tag(40_000), "{\"n\":1}".into())];
    assert_eq!(events, expected);
    // The second request under the same tag replaces the first. Only the response to the second request counts.
    start(&mut *connection, get(40_000));
    start(&mut *connection, patch(40_000, "{}"));
    peer.send(&publish(None, "$iothub/twin/res/200/?$rid=40000-2", b"{\"n\":3}")).await;
    peer.send(&publish(None, "$iothub/twin/res/204/?$rid=40000-3&$version=5", b"")).await;
    let events = exchange(&mut *connection).await.expect("an answer");
    assert_eq!(events, [Downstream::Reported(tag(40_000), Some(5))]);
    // A response with an invalid version still counts.
    start(&mut *connection, patch(40_000, "{}"));
    peer.send(&publish(None, "$iothub/twin/res/204/?$rid=40000-4&$version=five", b"")).await;
    let events = exchange(&mut *connection).await.expect("an answer");
    assert_eq!(events, [Downstream::Reported(tag(40_000), None)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_under_a_tag_in_use_or_too_large_is_refused_without_other_effects() {
    let (mut connection, mut peer) = ready().await;
    connection.start_send(tag(1), &telemetry(hubward_transport::Message::new("x")), false).expect("room");
    let large = Upstream::ReportedPatch(vec![b' '; 262_145].into());
    for (id, what) in [(1, Upstream::TwinGet), (1, Upstream::Subscribe(Feature::Methods)), (2, large)] {
        let error = connection.start_send(tag(id), &what, false).expect_err("impossible");
        assert!(matches!(error, TransportError::Request(_)), "{what:?}: {error}");
    }
    start(&mut *connection, get(2));
    peer.send(&publish(None, "$iothub/twin/res/200/?$rid=2-1", b"{}")).await;
    assert_eq!(exchange(&mut *connection).await.expect("an answer"), [Downstream::Twin(tag(2), "{}".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_desired_properties_is_handed_over_unchanged() {
    let (mut connection, mut peer) = ready().await;
    let body = br#"{"fan":null,"$version":5}"#;
    peer.send(&publish(None, "$iothub/twin/PATCH/properties/desired/?$version=5", body)).await;
    let events = exchange(&mut *connection).await.expect("a notice");
    assert_eq!(events, [Downstream::Desired(body.as_slice().into())]);
}

#[tokio::test(start_paused = true)]
async fn a_method_response_repeats_the_request_id_of_the_hub() {
    let (mut connection, mut peer) = ready().await;
    // The hub chooses the id. Today it is a number, but it may be any text.
    for (topic, name, id) in [
        ("$iothub/methods/POST/reboot/?$rid=1", "reboot", "1"),
        ("$iothub/methods/POST/set%20fan%2Fspeed/?$rid=a-b%20=c/d", "set fan/speed", "a-b%20=c/d"),
        ("$iothub/methods/POST/reboot/?$rid=7f&x=y", "reboot", "7f"),
    ] {
        peer.send(&publish(None, topic, b"{\"in\":1}")).await;
        let call = Call { id: CallId(id.into()), name: name.into(), body: "{\"in\":1}".into() };
        let events = exchange(&mut *connection).await.expect("a call");
        assert_eq!(events, [Downstream::Method(Box::new(call))]);
        for (status, body) in [(200, "{\"out\":2}"), (-7, ""), (i32::MAX, "null")] {
            let reply = Reply::Method { call: CallId(id.into()), status, body: body.into() };
            connection.start_reply(&reply).expect("a reply");
            let (_, sent) = join!(exchange_quietly(&mut *connection), published(&mut peer));
            assert_eq!(sent, (format!("$iothub/methods/res/{status}/?$rid={id}"), body.to_owned()));
        }
    }
}

/// Polls once and expects no event.
async fn exchange_quietly(connection: &mut dyn HubConnection) {
    let mut events = Vec::new();
    std::future::poll_fn(|cx| {
        assert!(connection.poll_exchange(cx, &mut events).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    assert_eq!(events, []);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_mqtt_or_the_hub_cannot_accept_is_refused_without_other_effects() {
    let (mut connection, mut peer) = ready().await;
    let long = "x".repeat(65_536);
    for (case, id, body) in [
        ("a wildcard", "a#b", Vec::new()),
        ("another wildcard", "a+b", Vec::new()),
        ("a zero", "a\0b", Vec::new()),
        ("a long id", long.as_str(), Vec::new()),
        ("a long body", "1", vec![b' '; 128 * 1024 + 1]),
    ] {
        let reply = Reply::Method { call: CallId(id.into()), status: 200, body: body.into() };
        let error = connection.start_reply(&reply).expect_err(case);
        assert!(matches!(error, TransportError::Request(_)), "{case}: {error}");
    }
    let reply = Reply::Method { call: CallId("1".into()), status: 200, body: vec![b'1'; 128 * 1024].into() };
    connection.start_reply(&reply).expect("as much as a hub takes");
    assert!(!connection.has_room(), "it counts as unwritten");
    let (_, ()) = join!(exchange(&mut *connection), async {
        peer.expect(b"\x30\xa1\x80\x08\x00\x1f$iothub/methods/res/200/?$rid=1").await;
    });
    assert!(connection.has_room());
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_shortens_the_allowed_silence_but_a_method_call_does_not() {
    for (what, silence) in
        [(Some(Upstream::TwinGet), 20), (Some(Upstream::Subscribe(Feature::Methods)), 20), (None, 90)]
    {
        let (mut connection, mut peer) = ready().await;
        let start = Instant::now();
        match &what {
            Some(what) => connection.start_send(tag(1), what, false).expect("room"),
            None => {
                peer.send(&publish(None, "$iothub/methods/POST/slow/?$rid=1", b"")).await;
                exchange(&mut *connection).await.expect("a call");
            }
        }
        let (result, ()) = join!(exchange(&mut *connection), async {
            if what.is_some() {
                peer.packet().await;
            }
            peer.expect(PINGREQ).await;
        });
        let error = result.expect_err("the peer does not answer");
        assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
        assert_eq!(start.elapsed().as_secs(), silence, "{what:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_ends_the_shortened_silence() {
    let (mut connection, mut peer) = ready().await;
    start(&mut *connection, get(1));
    peer.send(&publish(None, "$iothub/twin/res/200/?$rid=1-1", b"{}")).await;
    exchange(&mut *connection).await.expect("an answer");
    let start = Instant::now();
    let (_, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.expect(PINGREQ).await;
        assert_eq!(start.elapsed().as_secs(), 60);
        peer.send(PINGRESP).await;
        peer.send(&publish(None, "$iothub/twin/PATCH/properties/desired/", b"{}")).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_client_stops_reading_from_a_hub_that_reads_no_responses() {
    let (mut connection, mut peer) = open(&login("d1"), 64 * 1024).await;
    let (events, ()) = join!(exchange(&mut *connection), async {
        peer.packet().await;
        peer.send(CONNACK).await;
    });
    events.expect("a login");
    let mut answered = 0_usize;
    let body = vec![b'1'; 100 * 1024];
    // The hub sends calls while the client reads. The client answers each call with 100 KiB. The hub does not read
    // these answers.
    let call = publish(None, "$iothub/methods/POST/m/?$rid=1", &[b' '; 4000]);
    let flood = async {
        loop {
            peer.send(&call).await;
        }
    };
    let device = async {
        loop {
            for event in exchange(&mut *connection).await? {
                assert!(matches!(event, Downstream::Method(_)));
                let reply = Reply::Method { call: CallId("1".into()), status: 200, body: body.clone().into() };
                connection.start_reply(&reply).expect("replies are always accepted");
                answered += 1;
            }
        }
    };
    let result: Result<(), TransportError> = tokio::select! {
        result = device => result,
        () = flood => unreachable!("it has no end"),
    };
    // The client does not read, so the silence ends the connection.
    assert!(matches!(result, Err(TransportError::Timeout { .. })), "{result:?}");
    // The client stops reading at 512 KiB of responses, which is after about 6 calls. Before it stops, one more read
    // can deliver all calls in the pipe (64 KiB, about 16 calls).
    assert!((5..=25).contains(&answered), "{answered}");
}
