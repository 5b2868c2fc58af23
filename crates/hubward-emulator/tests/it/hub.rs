//! A hub over MQTT, with hand-written packets.

use std::time::Duration;

use hubward_emulator::{ConnectionState, Emulator};
use hubward_sas::SharedKey;

use crate::client::{Login, QOS1, Tls, connect, hub_connect, publish, receive, send, subscribe, tls, token};

const EVENTS: &str = "devices/d1/messages/events/";

async fn emulator() -> (Emulator, SharedKey) {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    (emulator, key)
}

async fn connected(emulator: &Emulator, key: &SharedKey) -> Tls {
    let mut stream = tls(emulator, emulator.mqtt_addr()).await;
    let connack = hub_connect(&mut stream, "d1", key, true).await;
    assert_eq!(connack.as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
    stream
}

fn connection_state(emulator: &Emulator) -> ConnectionState {
    emulator.device("localhost", "d1").expect("a device").connection_state
}

#[tokio::test]
async fn telemetry_is_acknowledged_and_logged() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key).await;
    assert_eq!(connection_state(&emulator), ConnectionState::Connected);
    let bag = "%24.mid=m%201&%24.ct=application%2Fjson&alert=true&flag";
    let mut bytes = publish(QOS1, &format!("{EVENTS}{bag}"), 1, b"test wind speed 1");
    bytes.extend(publish(0, "devices/d1/messages/events", 0, b"two"));
    bytes.extend(publish(QOS1 | 0b1001, EVENTS, 3, b"three"));
    send(&mut stream, &bytes).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x01"[..]));
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x03"[..]));

    let log = emulator.telemetry("LOCALHOST").expect("the hub").wait_for(3).await;
    let bodies: Vec<_> = log.iter().map(|it| (it.offset, it.body_text(), it.qos, it.duplicate)).collect();
    assert_eq!(
        bodies,
        [
            (0, "test wind speed 1".to_owned(), 1, false),
            (1, "two".to_owned(), 0, false),
            (2, "three".to_owned(), 1, true)
        ]
    );
    assert_eq!((log[0].device_id.as_str(), log[0].message.id()), ("d1", Some("m 1")));
    assert_eq!(log[0].property("alert"), Some(Some("true")));
    assert_eq!(log[0].property("flag"), Some(None));
    assert_eq!(log[0].property("mqtt-retain"), None);
    assert_eq!(log[2].property("mqtt-retain"), Some(Some("true")));
    assert!(log[0].enqueued_time.ends_with('Z'));

    send(&mut stream, b"\xe0\x00").await;
    assert_eq!(receive(&mut stream).await, None);
    emulator.wait_until(|it| (connection_state(it) == ConnectionState::Disconnected).then_some(())).await;
}

#[tokio::test]
async fn wrong_logins_get_connack_5() {
    let (emulator, key) = emulator().await;
    let wrong_key = SharedKey::generate().expect("a key");
    let name = "localhost/d1/?api-version=2021-04-12";
    let good = token(&key, "localhost/devices/d1");
    let wrong = token(&wrong_key, "localhost/devices/d1");
    for (client_id, username, password) in [
        ("d1", name, wrong.as_str()),
        ("d2", name, &good),
        ("d1", "elsewhere/d1/?api-version=2021-04-12", &good),
        ("d1", name, "no token"),
        ("d1", "d1", &good),
    ] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        let login = Login { client_id, username, password, clean: true, keep_alive: 60, will: None };
        let mut bytes = connect(&login);
        // The client sends a message before it reads the CONNACK. It must still receive the CONNACK, which refuses the
        // login.
        bytes.extend(publish(QOS1, EVENTS, 1, &[b'x'; 50_000]));
        send(&mut stream, &bytes).await;
        assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x20\x02\x00\x05"[..]), "{client_id} {username}");
        assert_eq!(receive(&mut stream).await, None);
    }
    assert_eq!(emulator.telemetry("localhost").expect("the hub").total(), 0);
}

#[tokio::test]
async fn the_first_packet_must_be_connect_of_mqtt_3_1_1() {
    let (emulator, _) = emulator().await;
    for (bytes, answer) in [
        (&b"\xc0\x00"[..], None),
        (b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x02d1", Some(&b"\x20\x02\x00\x01"[..])),
        (b"\x10\x0e\x00\x04HTTP\x04\x02\x00\x00\x00\x02d1", None),
        (b"GET / HTTP/1.1\r\n\r\n", None),
    ] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        send(&mut stream, bytes).await;
        if answer.is_some() {
            assert_eq!(receive(&mut stream).await.as_deref(), answer);
        }
        assert_eq!(receive(&mut stream).await, None, "{bytes:x?}");
    }
}

#[tokio::test]
async fn unsupported_packets_and_topics_end_the_connection() {
    let (emulator, key) = emulator().await;
    for bytes in [
        publish(0b0100, EVENTS, 1, b"quality of service 2"),
        publish(QOS1, "devices/d2/messages/events/", 1, b"another device"),
        publish(QOS1, "a/b", 1, b"no topic of a hub"),
        publish(QOS1, "$iothub/nothing/?$rid=1", 1, b""),
        publish(QOS1, "$iothub/twin/GET/?rid=1", 1, b""),
        publish(QOS1, "$iothub/twin/GET/?$rid=", 1, b""),
        publish(QOS1, "$iothub/twin/PATCH/properties/desired/?$rid=1", 1, b"{}"),
        publish(QOS1, "$iothub/methods/res/ok/?$rid=1", 1, b"{}"),
        publish(QOS1, "$iothub/methods/res/200/", 1, b"{}"),
        publish(QOS1, "$iothub/methods/res/200/?$rid=1", 1, &vec![b'1'; 131_073]),
        publish(QOS1, "$iothub/methods/POST/reboot/?$rid=1", 1, b"{}"),
        publish(QOS1, "devices/d1/messages/events/=v", 1, b"a bag without a name"),
        publish(QOS1, EVENTS, 1, &vec![0; 262_145]),
        publish(QOS1, &format!("{EVENTS}a=b"), 1, &vec![0; 262_143]),
        publish(QOS1, EVENTS, 1, &vec![0; 400_000]),
        publish(QOS1, EVENTS, 0, b"packet id 0"),
        b"\x62\x02\x00\x01".to_vec(),
        connect(&Login { client_id: "d1", username: "u", password: "p", clean: true, keep_alive: 0, will: None }),
    ] {
        let mut stream = connected(&emulator, &key).await;
        // The connection may be closed before the whole packet is sent.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await;
        assert_eq!(receive(&mut stream).await, None, "{:x?}", &bytes[..bytes.len().min(60)]);
    }
    let log = emulator.telemetry("localhost").expect("the hub");
    assert_eq!(log.total(), 0);
    // The largest message is accepted.
    let mut stream = connected(&emulator, &key).await;
    send(&mut stream, &publish(QOS1, &format!("{EVENTS}a=b"), 9, &vec![0; 262_142])).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x40\x02\x00\x09"[..]));
    assert_eq!(log.total(), 1);
}

#[tokio::test]
async fn grants_the_documented_filters_up_to_five() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key).await;
    let filters = [
        ("devices/d1/messages/devicebound/#", 2),
        ("$iothub/methods/POST/#", 0),
        ("$iothub/twin/res/#", 1),
        ("#", 1),
        ("devices/d2/messages/devicebound/#", 1),
        ("$iothub/twin/PATCH/properties/desired/#", 1),
        ("devices/+/messages/devicebound/#", 1),
        ("$iothub/methods/POST/a", 1),
    ];
    send(&mut stream, &subscribe(1, &filters)).await;
    let expected = b"\x90\x0a\x00\x01\x01\x00\x01\x80\x80\x01\x01\x80";
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&expected[..]));
    // After an unsubscribe, another filter is granted.
    let mut bytes = b"\xa2\x22\x00\x02\x00\x1edevices/+/messages/deviceboun/".to_vec();
    bytes.truncate(4);
    bytes[1] = 2 + 2 + 32;
    bytes.extend(crate::client::string("devices/+/messages/devicebound/#"));
    send(&mut stream, &bytes).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\xb0\x02\x00\x02"[..]));
    send(&mut stream, &subscribe(3, &[("$iothub/methods/POST/a", 1), ("$iothub/twin/res/#", 0)])).await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\x90\x04\x00\x03\x01\x00"[..]));
}

#[tokio::test]
async fn a_session_is_kept_unless_the_session_is_clean() {
    let (emulator, key) = emulator().await;
    for (clean, present) in [(false, 0), (false, 1), (true, 0), (false, 0), (false, 1)] {
        let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
        let connack = hub_connect(&mut stream, "d1", &key, clean).await;
        assert_eq!(connack, Some(vec![0x20, 2, present, 0]), "clean {clean}");
        send(&mut stream, b"\xe0\x00").await;
        assert_eq!(receive(&mut stream).await, None);
    }
}

#[tokio::test]
async fn a_second_connection_ends_the_first() {
    let (emulator, key) = emulator().await;
    let mut first = connected(&emulator, &key).await;
    let mut second = connected(&emulator, &key).await;
    assert_eq!(receive(&mut first).await, None);
    assert_eq!(connection_state(&emulator), ConnectionState::Connected);
    send(&mut second, b"\xc0\x00").await;
    assert_eq!(receive(&mut second).await.as_deref(), Some(&b"\xd0\x00"[..]));
}

#[tokio::test]
async fn the_will_of_a_client_that_ends_without_disconnect_is_published() {
    let (emulator, key) = emulator().await;
    let log = emulator.telemetry("localhost").expect("the hub");
    let password = token(&key, "localhost/devices/d1");
    let login = Login {
        client_id: "d1",
        username: "localhost/d1/?api-version=2021-04-12",
        password: &password,
        clean: true,
        keep_alive: 60,
        will: Some(("devices/d1/messages/events/a=b", "gone")),
    };
    let mut polite = tls(&emulator, emulator.mqtt_addr()).await;
    send(&mut polite, &connect(&login)).await;
    receive(&mut polite).await.expect("a CONNACK");
    send(&mut polite, b"\xe0\x00").await;
    assert_eq!(receive(&mut polite).await, None);

    let mut rude = tls(&emulator, emulator.mqtt_addr()).await;
    send(&mut rude, &connect(&login)).await;
    receive(&mut rude).await.expect("a CONNACK");
    drop(rude);
    let messages = log.wait_for(1).await;
    assert_eq!(messages.len(), 1, "one will, not two");
    assert_eq!(messages[0].body_text(), "gone");
    assert_eq!(messages[0].property("iothub-MessageType"), Some(Some("Will")));
    assert_eq!(messages[0].property("a"), Some(Some("b")));
}

#[tokio::test]
async fn an_expired_token_ends_the_connection() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key).await;
    emulator.clock_ahead(Duration::from_secs(3600 + 200));
    send(&mut stream, b"\xc0\x00").await;
    assert_eq!(receive(&mut stream).await.as_deref(), Some(&b"\xd0\x00"[..]), "within the grace");
    emulator.clock_ahead(Duration::from_secs(3600 + 400));
    assert_eq!(receive(&mut stream).await, None);
    let mut again = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut again, "d1", &key, true).await.as_deref(), Some(&b"\x20\x02\x00\x05"[..]));
}

#[tokio::test]
async fn a_disconnected_device_can_reconnect() {
    let (emulator, key) = emulator().await;
    assert!(!emulator.disconnect_device("localhost", "d1"), "it is not connected");
    let mut stream = connected(&emulator, &key).await;
    assert!(emulator.disconnect_device("localhost", "d1"));
    assert_eq!(receive(&mut stream).await, None);
    connected(&emulator, &key).await;
}

#[tokio::test]
async fn disabling_or_deleting_a_device_ends_its_connection() {
    let (emulator, key) = emulator().await;
    let mut stream = connected(&emulator, &key).await;
    assert!(emulator.set_device_enabled("localhost", "d1", false));
    assert_eq!(receive(&mut stream).await, None);
    let mut stream = tls(&emulator, emulator.mqtt_addr()).await;
    assert_eq!(hub_connect(&mut stream, "d1", &key, true).await.as_deref(), Some(&b"\x20\x02\x00\x05"[..]));
    assert!(emulator.set_device_enabled("localhost", "d1", true));
    let mut stream = connected(&emulator, &key).await;
    assert!(emulator.delete_device("localhost", "d1"));
    assert_eq!(receive(&mut stream).await, None);
    assert!(!emulator.delete_device("localhost", "d1"));
}
