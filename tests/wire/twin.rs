//! The bytes of twin requests.

use hubward::error::TwinError;
use serde_json::{Value, json};

use super::peer::{Peer, client, device};

const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";

/// Waits for a twin request whose topic begins with `topic`. Returns the request ID.
async fn twin_request(peer: &mut Peer, topic: &str, body: &Value) -> String {
    let publish = peer.next_publish().await;
    let rid = publish.topic.strip_prefix(topic).unwrap_or_else(|| panic!("{} instead of {topic}", publish.topic));
    assert!(!rid.is_empty() && !rid.contains('&'), "{rid}");
    if body.is_null() {
        assert!(publish.body.is_empty(), "a GET has no body: {:?}", publish.body);
    } else {
        assert_eq!(serde_json::from_slice::<Value>(&publish.body).expect("JSON"), *body);
    }
    rid.to_owned()
}

/// The documentation's example of a GET.
#[tokio::test]
async fn the_client_reads_the_twin() {
    let (client, mut hub) = client(device());
    let mut peer = hub.accept().await;
    let (twin, ()) = tokio::join!(client.twin(), async {
        peer.grant_subscription(RESPONSES).await;
        let rid = twin_request(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
        let body = br#"{"desired":{"telemetrySendFrequency":"5m","$version":12,"$metadata":{"$lastUpdated":"x"}},
            "reported":{"telemetrySendFrequency":"5m","batteryLevel":55,"$version":123}}"#;
        // The first answer has an unknown request ID. The client must ignore it.
        peer.publish("$iothub/twin/res/200/?$rid=unknown", b"{}", 0, 0).await;
        peer.publish(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    });
    let twin = twin.expect("a twin");
    assert_eq!((twin.desired.version, twin.reported.version), (12, 123));
    assert_eq!(json!(twin.desired.values), json!({ "telemetrySendFrequency": "5m" }));
    assert_eq!(json!(twin.reported.values), json!({ "telemetrySendFrequency": "5m", "batteryLevel": 55 }));
}

/// If the hub accepts a report, it answers with status 204 and the new version. (Some old pages of the documentation
/// say 200.)
///
/// If the hub refuses a report, the client's error contains the body of the hub's answer.
#[tokio::test]
async fn the_client_reports_properties() {
    let (client, mut hub) = client(device());
    let mut peer = hub.accept().await;
    let patch = json!({ "telemetrySendFrequency": "35m", "gone": null });
    let report = "$iothub/twin/PATCH/properties/reported/?$rid=";
    let (reported, ()) = tokio::join!(client.report(&patch), async {
        peer.grant_subscription(RESPONSES).await;
        let rid = twin_request(&mut peer, report, &patch).await;
        peer.publish(&format!("$iothub/twin/res/204/?$rid={rid}&$version=6"), b"", 1, 1).await;
        assert_eq!(peer.next_packet().await.rest, [0, 1], "the client acknowledges the answer");
    });
    assert_eq!(reported.expect("reported").version, Some(6));

    for (answer, version) in
        [("200/?$rid=RID&$version=7", Some(7)), ("204/?$version=8&$rid=RID", Some(8)), ("204/?$rid=RID", None)]
    {
        let (reported, ()) = tokio::join!(client.report(&patch), async {
            let rid = twin_request(&mut peer, report, &patch).await;
            peer.publish(&format!("$iothub/twin/res/{}", answer.replace("RID", &rid)), b"", 0, 0).await;
        });
        assert_eq!(reported.expect(answer).version, version, "{answer}");
    }

    let (refused, ()) = tokio::join!(client.report(&patch), async {
        let rid = twin_request(&mut peer, report, &patch).await;
        let body = br#"{"errorCode":400004,"message":"ArgumentInvalid;Property too deep","trackingId":"E3F-1"}"#;
        peer.publish(&format!("$iothub/twin/res/400/?$rid={rid}"), body, 0, 0).await;
    });
    let error = refused.expect_err("400");
    assert_eq!(error.status(), Some(400));
    let TwinError::Refused(refusal) = error else { panic!("{error:?}") };
    assert_eq!((refusal.error_code, refusal.tracking_id.as_deref()), (Some(400_004), Some("E3F-1")));
}

/// The documentation says what a client must do: subscribe to desired properties, then read the twin, and ignore
/// notices with older versions. This must work even if notices arrive before the answer to the read, more than once, or
/// out of order.
#[tokio::test]
async fn desired_properties_follow_the_documented_rule() {
    let (client, mut hub) = client(device());
    let mut desired = client.desired().expect("MQTT has twins");
    let mut peer = hub.accept().await;
    peer.grant_subscription(RESPONSES).await;
    peer.grant_subscription(DESIRED).await;
    let rid = twin_request(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
    let notice = |version: u64| format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
    // The answer below has version 4. It contains the change of the first notice, but not the change of the second
    // notice.
    peer.publish(&notice(4), br#"{"fan":1,"$version":4}"#, 0, 0).await;
    peer.publish(&notice(5), br#"{"fan":2,"route":null,"$version":5}"#, 1, 7).await;
    assert_eq!(peer.next_packet().await.rest, [0, 7], "the client acknowledges a notice with quality of service 1");
    let body = br#"{"desired":{"fan":1,"route":"a","$version":4},"reported":{"$version":1}}"#;
    peer.publish(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    let state = loop {
        let state = desired.changed().await.expect("a state");
        if state.version >= 5 {
            break state;
        }
        assert_eq!(json!(state.values), json!({ "fan": 1, "route": "a" }), "version {}", state.version);
    };
    assert_eq!((state.version, json!(state.values)), (5, json!({ "fan": 2 })));
    // Notice 5 arrives a second time. Notice 3 arrives late.
    peer.publish(&notice(5), br#"{"fan":2,"route":null,"$version":5}"#, 0, 0).await;
    peer.publish(&notice(3), br#"{"fan":9,"$version":3}"#, 0, 0).await;
    peer.publish(&notice(6), br#"{"fan":{"speed":1},"$version":6}"#, 0, 0).await;
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, json!(state.values)), (6, json!({ "fan": { "speed": 1 } })));

    // If the hub did not keep the session, the client subscribes again and reads the twin again. The application does
    // not have to ask for this.
    drop(peer);
    let mut peer = hub.accept().await;
    peer.grant_subscription(RESPONSES).await;
    peer.grant_subscription(DESIRED).await;
    let rid = twin_request(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
    let body = br#"{"desired":{"after":true,"$version":9},"reported":{"$version":1}}"#;
    peer.publish(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, json!(state.values)), (9, json!({ "after": true })));

    // If a version is missing, the client reads the twin again.
    peer.publish(&notice(12), br#"{"last":1,"$version":12}"#, 0, 0).await;
    let rid = twin_request(&mut peer, "$iothub/twin/GET/?$rid=", &Value::Null).await;
    let body = br#"{"desired":{"between":1,"last":1,"$version":12},"reported":{"$version":1}}"#;
    peer.publish(&format!("$iothub/twin/res/200/?$rid={rid}"), body, 0, 0).await;
    let state = desired.changed().await.expect("a state");
    assert_eq!((state.version, json!(state.values)), (12, json!({ "between": 1, "last": 1 })));
}
