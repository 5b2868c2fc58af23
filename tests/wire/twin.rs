//! Twins, byte by byte.

use hubward::error::TwinError;
use serde_json::{Value, json};

use super::peer::{Peer, client, device};

const ANSWERS: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

/// Takes a question about the twin, whose topic begins so; its request id.
async fn asked(peer: &mut Peer, topic: &str, body: &Value) -> String {
    let publish = peer.publish().await;
    let rid = publish.topic.strip_prefix(topic).unwrap_or_else(|| panic!("{} instead of {topic}", publish.topic));
    assert!(!rid.is_empty() && !rid.contains('&'), "{rid}");
    if body.is_null() {
        assert!(publish.body.is_empty(), "a GET has no body: {:?}", publish.body);
    } else {
        assert_eq!(serde_json::from_slice::<Value>(&publish.body).expect("JSON"), *body);
    }
    rid.to_owned()
}

/// The documentation's example of a GET, word for word.
#[tokio::test]
async fn a_twin_is_asked_for_and_read() {
    let (client, mut hub) = client(device());
    let mut peer = hub.accept().await;
    let (twin, ()) = tokio::join!(client.twin(), async {
        peer.grant(ANSWERS).await;
        let rid = asked(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
        let body = br#"{"desired":{"telemetrySendFrequency":"5m","$version":12,"$metadata":{"$lastUpdated":"x"}},
            "reported":{"telemetrySendFrequency":"5m","batteryLevel":55,"$version":123}}"#;
        // One for somebody else comes before.
        peer.tell("$iothub/twin/res/200/?$rid=nobody-s", b"{}", 0, 0).await;
        peer.tell(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    });
    let twin = twin.expect("a twin");
    assert_eq!((twin.desired.version, twin.reported.version), (12, 123));
    assert_eq!(json!(twin.desired.values), json!({ "telemetrySendFrequency": "5m" }));
    assert_eq!(json!(twin.reported.values), json!({ "telemetrySendFrequency": "5m", "batteryLevel": 55 }));
}

/// A report is answered with 204 and the version; some old pages say 200. A refusal keeps what the
/// hub said.
#[tokio::test]
async fn a_report_is_made_and_answered() {
    let (client, mut hub) = client(device());
    let mut peer = hub.accept().await;
    let patch = json!({ "telemetrySendFrequency": "35m", "gone": null });
    let report = "$iothub/twin/PATCH/properties/reported/?$rid=";
    let (reported, ()) = tokio::join!(client.report(&patch), async {
        peer.grant(ANSWERS).await;
        let rid = asked(&mut peer, report, &patch).await;
        peer.tell(&format!("$iothub/twin/res/204/?$rid={rid}&$version=6"), b"", 1, 1).await;
        assert_eq!(peer.packet().await.rest, [0, 1], "the answer is acknowledged");
    });
    assert_eq!(reported.expect("reported").version, Some(6));

    for (answer, version) in
        [("200/?$rid=RID&$version=7", Some(7)), ("204/?$version=8&$rid=RID", Some(8)), ("204/?$rid=RID", None)]
    {
        let (reported, ()) = tokio::join!(client.report(&patch), async {
            let rid = asked(&mut peer, report, &patch).await;
            peer.tell(&format!("$iothub/twin/res/{}", answer.replace("RID", &rid)), b"", 0, 0).await;
        });
        assert_eq!(reported.expect(answer).version, version, "{answer}");
    }

    let (refused, ()) = tokio::join!(client.report(&patch), async {
        let rid = asked(&mut peer, report, &patch).await;
        let body = br#"{"errorCode":400004,"message":"ArgumentInvalid;Property too deep","trackingId":"E3F-1"}"#;
        peer.tell(&format!("$iothub/twin/res/400/?$rid={rid}"), body, 0, 0).await;
    });
    let error = refused.expect_err("400");
    assert_eq!(error.status(), Some(400));
    let TwinError::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!((refusal.error_code, refusal.tracking_id.as_deref()), (Some(400_004), Some("E3F-1")));
}

/// Subscribe, ask, drop what is older: the documentation's rule for desired properties, also when
/// notices come before the answer, twice, or in the wrong order.
#[tokio::test]
async fn desired_properties_are_followed_by_the_documented_rule() {
    let (client, mut hub) = client(device());
    let mut desired = client.desired().expect("MQTT has twins");
    let mut peer = hub.accept().await;
    peer.grant(ANSWERS).await;
    peer.grant(DESIRED).await;
    let rid = asked(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
    let notice = |version: u64| format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
    // The twin is read at 4; the notice of 4 is known by then, the one of 5 is not.
    peer.tell(&notice(4), br#"{"fan":1,"$version":4}"#, 0, 0).await;
    peer.tell(&notice(5), br#"{"fan":2,"route":null,"$version":5}"#, 1, 7).await;
    assert_eq!(peer.packet().await.rest, [0, 7], "a notice is acknowledged where it is wanted");
    let body = br#"{"desired":{"fan":1,"route":"a","$version":4},"reported":{"$version":1}}"#;
    peer.tell(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    let state = loop {
        let state = desired.changed().await.expect("a state");
        if state.version >= 5 {
            break state;
        }
        assert_eq!(json!(state.values), json!({ "fan": 1, "route": "a" }), "version {}", state.version);
    };
    assert_eq!((state.version, json!(state.values)), (5, json!({ "fan": 2 })));
    // Twice, and late.
    peer.tell(&notice(5), br#"{"fan":2,"route":null,"$version":5}"#, 0, 0).await;
    peer.tell(&notice(3), br#"{"fan":9,"$version":3}"#, 0, 0).await;
    peer.tell(&notice(6), br#"{"fan":{"speed":1},"$version":6}"#, 0, 0).await;
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, json!(state.values)), (6, json!({ "fan": { "speed": 1 } })));

    // A connection that forgot everything: subscribe and ask again, without the program.
    drop(peer);
    let mut peer = hub.accept().await;
    peer.grant(ANSWERS).await;
    peer.grant(DESIRED).await;
    let rid = asked(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
    let body = br#"{"desired":{"after":true,"$version":9},"reported":{"$version":1}}"#;
    peer.tell(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, json!(state.values)), (9, json!({ "after": true })));

    // A gap: what lies between is asked for.
    peer.tell(&notice(12), br#"{"last":1,"$version":12}"#, 0, 0).await;
    let rid = asked(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
    let body = br#"{"desired":{"between":1,"last":1,"$version":12},"reported":{"$version":1}}"#;
    peer.tell(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, json!(state.values)), (12, json!({ "between": 1, "last": 1 })));
}
