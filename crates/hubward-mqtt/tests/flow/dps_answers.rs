//! DPS: answers that are late, early, repeated, out of order, in pieces, or not valid.

use hubward_proto::ProtoError;
use hubward_proto::dps::AssignmentStatus;
use hubward_transport::{DpsTransport, Stage, TransportError};
use tokio::join;

use crate::dps::{ASSIGNED, ASSIGNING, SUBACK, SUBSCRIBE, client, operation, operation_id, registration};
use crate::peer::{CONNACK, PINGRESP, publish};

const PUBACK: &[u8] = b"\x40\x02\x00\x01";

fn answer(id: Option<u16>, request_id: &str, body: &[u8]) -> Vec<u8> {
    publish(id, &format!("$dps/registrations/res/200/?$rid={request_id}"), body)
}

/// Registers against a server that sends `packets` in one piece, or byte by byte.
async fn answered_with(packets: &[Vec<u8>], drip: bool) -> Result<AssignmentStatus, TransportError> {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let (result, _peer) = join!(dps.register(&registration, None), async {
        let mut peer = listener.accept().await;
        peer.packet().await;
        if drip {
            peer.drip(CONNACK).await;
            peer.expect(SUBSCRIBE).await;
            peer.drip(SUBACK).await;
        } else {
            peer.send(CONNACK).await;
            peer.expect(SUBSCRIBE).await;
            peer.send(SUBACK).await;
        }
        peer.packet().await;
        let bytes = packets.concat();
        if drip {
            peer.drip(&bytes).await
        } else {
            peer.send(&bytes).await
        }
        peer
    });
    result.map(|reply| operation(reply).status)
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_found_among_other_packets() {
    let (ours, other) = (|id| answer(id, "1", ASSIGNED), |id| answer(id, "99", ASSIGNING));
    let puback = || PUBACK.to_vec();
    for (case, packets) in [
        ("after the PUBACK", vec![puback(), ours(None)]),
        ("before the PUBACK", vec![ours(Some(1)), puback()]),
        ("without a PUBACK", vec![ours(Some(1))]),
        ("twice", vec![puback(), ours(Some(1)), ours(Some(2))]),
        ("after an answer to another request", vec![other(Some(1)), puback(), other(None), ours(Some(2))]),
        (
            "after messages that are not answers",
            vec![
                publish(Some(1), "$dps/registrations/res/200/?rid=1", b"{}"),
                publish(None, "$dps/registrations/res/abc/?$rid=1", b"{}"),
                publish(None, "devices/x/messages/devicebound/", b"{}"),
                publish(None, "", b""),
                ours(None),
            ],
        ),
        (
            "after unexpected acknowledgements",
            vec![
                b"\x40\x02\x77\x77".to_vec(),
                puback(),
                puback(),
                SUBACK.to_vec(),
                b"\x90\x03\x00\x01\x80".to_vec(),
                PINGRESP.to_vec(),
                ours(None),
            ],
        ),
        (
            "with parameters in another order",
            vec![publish(None, "$dps/registrations/res/200/?retry-after=1&x=y&$rid=1", ASSIGNED)],
        ),
        (
            "with DUP and RETAIN set",
            vec![{
                let mut packet = ours(Some(3));
                packet[0] |= 0b1001;
                packet
            }],
        ),
    ] {
        for drip in [false, true] {
            let status = answered_with(&packets, drip).await.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(status, AssignmentStatus::Assigned, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_at_qos_1_is_acknowledged() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let (result, ()) = join!(dps.register(&registration, None), async {
        let mut peer = listener.accept_subscribed().await;
        peer.packet().await;
        let packets =
            [answer(Some(0x0a01), "99", ASSIGNING), answer(None, "98", ASSIGNING), answer(Some(2), "1", ASSIGNED)];
        peer.send(&packets.concat()).await;
        peer.expect(b"\x40\x02\x0a\x01\x40\x02\x00\x02").await;
    });
    result.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_answer_is_a_protocol_error() {
    let huge = vec![b' '; 192 * 1024 + 1];
    for (case, packet) in [
        ("HTML", answer(None, "1", b"<html>gateway</html>")),
        ("JSON of another shape", answer(None, "1", b"[]")),
        ("nothing", answer(None, "1", b"")),
        ("half a JSON", answer(None, "1", &ASSIGNED[..40])),
        ("a huge one", answer(None, "1", &huge)),
        ("a packet that never ends", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("an invalid length", vec![0x30, 0xff, 0xff, 0xff, 0xff]),
        ("QoS 2", vec![0x34, 7, 0, 1, b't', 0, 1, 0, 0]),
        ("a topic longer than its packet", vec![0x30, 3, 0, 9, b't']),
        ("a topic that is not UTF-8", vec![0x30, 3, 0, 1, 0xff]),
        ("a second CONNACK", CONNACK.to_vec()),
        ("not MQTT", b"GET / HTTP/1.1\r\n".to_vec()),
    ] {
        let error = answered_with(&[packet], false).await.expect_err(case);
        assert!(matches!(error, TransportError::Protocol { .. }), "{case}: {error}");
        assert_eq!(error.stage(), Some(Stage::Register), "{case}");
        let too_large = matches!(error, TransportError::Protocol { source: ProtoError::TooLarge { .. }, .. });
        assert_eq!(too_large, ["a huge one", "a packet that never ends"].contains(&case), "{case}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_dropped_request_the_late_answer_is_discarded() {
    let (mut dps, _dialer, mut listener) = client();
    let registration = registration("dev-1");
    let mut peer = tokio::select! {
        _ = dps.register(&registration, None) => panic!("the peer has not answered"),
        peer = async {
            let mut peer = listener.accept_subscribed().await;
            peer.expect(b"\x32\x4c\x00\x2e$dps/registrations/PUT/iotdps-register/?$rid=1\x00\x01").await;
            peer.expect(br#"{"registrationId":"dev-1"}"#).await;
            peer
        } => peer,
    };
    // The server sends two late answers to request 1: one before request 2, and one after request 2.
    peer.send(&answer(Some(1), "1", ASSIGNING)).await;
    let operation_id = operation_id();
    let (result, ()) = join!(dps.operation_status(&registration, &operation_id, None), async {
        peer.expect(b"\x40\x02\x00\x01").await;
        peer.expect(b"\x32\x4e\x00\x4a$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.op")
            .await;
        peer.expect(b"\x00\x02").await;
        peer.send(&answer(None, "1", ASSIGNING)).await;
        peer.send(&answer(None, "2", ASSIGNED)).await;
    });
    assert_eq!(operation(result.expect("an answer")).status, AssignmentStatus::Assigned);
    assert!(listener.is_quiet(), "the connection was kept");
}

#[tokio::test(start_paused = true)]
async fn request_ids_and_packet_ids_are_not_used_twice() {
    let (mut dps, _dialer, mut listener) = client();
    let (registration, operation_id) = (registration("dev-1"), operation_id());
    let server = async {
        let mut peer = listener.accept_subscribed().await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let request = peer.packet().await;
            let length = usize::from(u16::from_be_bytes([request[2], request[3]]));
            let topic = String::from_utf8(request[4..4 + length].to_vec()).expect("a topic");
            let id = &request[4 + length..6 + length];
            let request_id = topic.split_once("$rid=").expect("an id").1.split('&').next().expect("it").to_owned();
            assert!(seen.insert(request_id.clone()), "{request_id} twice");
            // The server acknowledges no packet. So every packet id stays in use, and each request needs a new packet
            // id.
            assert!(seen.insert(format!("packet {id:?}")), "packet id {id:?} twice");
            peer.send(&answer(None, &request_id, ASSIGNING)).await;
        }
    };
    let device = async {
        for _ in 0..200 {
            dps.operation_status(&registration, &operation_id, None).await.expect("an answer");
        }
    };
    join!(server, device);
}
