//! Checks the log of the attempts to connect, and that the client gives up soon if the emulator is not running.
//!
//! This file has only one test. The tests of one program run on several threads, and a second test would change which
//! log events the first one captures.

mod captured;

use std::time::Duration;

use captured::Captured;
use hubward::error::TransportError;
use hubward::{ConnectError, ConnectOptions, HubSettings, Settings, SharedKey, TransportKind};
use tokio::net::TcpSocket;
use tracing_subscriber::filter::LevelFilter;

/// Removes the captured lines and returns those of our crates.
fn our_lines(captured: &Captured) -> Vec<String> {
    captured.take().lines().filter(|it| it.contains("hubward_")).map(str::to_owned).collect()
}

/// Checks the lines that contain `what`, and ignores all others. Asserts that there is one such line for each row, in
/// the order of the rows, and that the line contains all texts of its row.
fn assert_lines(lines: &[String], what: &str, rows: &[&[&str]]) {
    let found: Vec<&String> = lines.iter().filter(|it| it.contains(what)).collect();
    assert_eq!(found.len(), rows.len(), "{what}: {lines:#?}");
    for (line, row) in found.iter().zip(rows) {
        for text in *row {
            assert!(line.contains(text), "`{text}` is not in `{line}`");
        }
    }
}

#[tokio::test]
async fn each_attempt_is_logged_and_a_stopped_emulator_ends_the_attempts() {
    let captured = Captured::default();
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    let _guard = tracing::subscriber::set_default(log.with_writer(captured.clone()).finish());
    // The socket is bound but does not listen. The system therefore refuses connections, and no other program can use
    // the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let rule = format!("::{}", socket.local_addr().expect("bound"));
    let key = SharedKey::generate().expect("a key");
    // The timeout is so long that it cannot end the attempts.
    let with_rule = |it: ConnectOptions| it.dial_overrides(vec![rule.parse().expect("a rule")]).timeout(Duration::MAX);

    for (kind, endpoint) in [
        (TransportKind::Https, "endpoint=\"dps.example:443\""),
        (TransportKind::Mqtt, "endpoint=\"dps.example:8883\""),
        (TransportKind::MqttWs, "endpoint=\"dps.example:443\""),
    ] {
        let (scope, id) = ("0ne1".parse().expect("a scope"), "dev-1".parse().expect("an id"));
        let settings = Settings::new("dps.example", scope, id, key.clone()).transport(kind).options(with_rule);
        let error = settings.provision().await.expect_err("no program listens");
        assert!(format!("{error:?}").contains("\n\nHint: is the emulator running?"), "{error:?}");
        let transport = format!("transport=\"{kind}\"");
        let (lines, transport) = (our_lines(&captured), transport.as_str());
        let sent = "attempting a request to DPS";
        assert_lines(
            &lines,
            sent,
            &[
                &[transport, endpoint, "attempt=1", "request=\"register\""],
                &[transport, endpoint, "attempt=2"],
                &[transport, endpoint, "attempt=3"],
            ],
        );
        assert_lines(
            &lines,
            "a request to DPS failed",
            &[
                &["INFO", transport, endpoint, "attempt=1", "next_wait=", "could not connect to dps.example"],
                &["INFO", transport, endpoint, "attempt=2", "next_wait="],
            ],
        );
        assert_lines(&lines, "the registration failed", &[&["INFO", transport, endpoint, "attempt=3", "reason="]]);
        assert_no_key(&lines, &key);
    }

    let text = format!("HostName=hub.example;DeviceId=dev-1;SharedAccessKey={}", key.expose_base64().as_str());
    for (kind, endpoint) in [
        (TransportKind::Mqtt, "endpoint=\"hub.example:8883\""),
        (TransportKind::MqttWs, "endpoint=\"hub.example:443\""),
    ] {
        let settings = HubSettings::from_connection_string(&text).expect("a device").transport(kind);
        let error = settings.options(with_rule).connect().await.expect_err("no program listens");
        let ConnectError::Hub(ended) = &error else { panic!("{error:?}") };
        assert!(matches!(ended.transport_error(), Some(TransportError::NotListening { .. })), "{error:?}");
        assert!(format!("{error:?}").contains("\n\nHint: is the emulator running?"), "{error:?}");
        let transport = format!("transport=\"{kind}\"");
        let (lines, transport) = (our_lines(&captured), transport.as_str());
        let failed: Vec<&String> = lines.iter().filter(|it| it.contains("not connected to the hub")).collect();
        // `connect` gives up after the second failure. If the client's wait after this failure is very short, the
        // client may begin a third attempt before `connect` stops it.
        assert!(failed.len() >= 2, "{lines:#?}");
        for (at, line) in failed.iter().enumerate() {
            let attempt = format!("attempt={} failures={}", at + 1, at + 1);
            for text in
                ["INFO", transport, endpoint, &attempt, "next_wait=", "reason=\"could not connect to hub.example"]
            {
                assert!(line.contains(text), "`{text}` is not in `{line}`");
            }
        }
        assert!(lines.iter().filter(|it| it.contains("connecting to the hub")).count() >= 2, "{lines:#?}");
        assert_no_key(&lines, &key);
    }
}

fn assert_no_key(lines: &[String], key: &SharedKey) {
    let text = key.expose_base64();
    let secrets = [text.as_str(), "sig=", "SharedAccessSignature sr"];
    assert!(!lines.iter().any(|line| secrets.iter().any(|it| line.contains(it))), "{lines:#?}");
}
