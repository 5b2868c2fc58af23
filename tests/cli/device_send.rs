//! `hubward device send`.

use hubward_emulator::{Emulator, Fault, Point};
use hubward_tests::command::Invocation;
use serde_json::json;

use super::cloud;
use super::device::{HUB, TRANSPORTS, assert_refused, device, known, known_module, types};

/// The bodies of the telemetry that the hub has received.
fn bodies(emulator: &Emulator) -> Vec<String> {
    let log = emulator.telemetry(HUB).expect("the hub").all();
    log.into_iter().map(|it| String::from_utf8_lossy(&it.message.body).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn send_sends_each_argument_with_the_given_properties() {
    for transport in TRANSPORTS {
        let (emulator, enrolled) = cloud().await;
        let arguments = [
            ["send", "one", "two", "--property", "unit=C", "--property", "x=", "--property"].as_slice(),
            &["flag", "--correlation-id", "c/1", "--content-type", "text/plain"],
            &["--content-encoding", "utf-8", "--component", "thermostat1"],
        ]
        .concat();
        let ran = device(transport, &arguments, &enrolled.vars()).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        assert_eq!(types(&lines)[..3], ["provisioning", "assigned", "connected"]);
        let mut rest = types(&lines)[3..].to_vec();
        rest.sort_unstable();
        assert_eq!(rest, ["result", "sending", "sending", "sent", "sent"]);
        assert_eq!((&lines[2]["deviceId"], &lines[2]["transport"]), (&json!("dev-1"), &json!(transport)));
        let last = ran.last().expect("a result");
        assert_eq!((&last["messages"], &last["acknowledged"]), (&json!(2), &json!(2)));
        assert_eq!((&last["deviceId"], &last["assignedHub"]), (&json!("dev-1"), &json!(HUB)));

        assert_eq!(bodies(&emulator), ["one", "two"]);
        let log = emulator.telemetry(HUB).expect("the hub").all();
        let ids: Vec<_> = log.iter().map(|it| it.message.id().expect("an id").to_owned()).collect();
        assert!(ids[0] != ids[1] && ids.iter().all(|it| it.len() == 36), "{ids:?}");
        for telemetry in &log {
            let properties: Vec<_> = telemetry.message.properties().collect();
            assert_eq!(properties, [("unit", Some("C")), ("x", Some("")), ("flag", None)]);
            let system: Vec<_> = telemetry.message.system_properties().filter(|(name, _)| *name != "$.mid").collect();
            let expected = [("$.cid", "c/1"), ("$.ct", "text/plain"), ("$.ce", "utf-8"), ("$.sub", "thermostat1")];
            assert_eq!(system, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_sends_each_line_of_standard_input() {
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known(&emulator, "dev-1");
        let command = device(transport, &["send", "--interval", "1ms"], &variables);
        let ran = command.stdin(b"one\r\n\n \xff\nlast".as_slice()).run().await;
        let last = ran.last().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        assert_eq!((&last["type"], &last["messages"]), (&json!("result"), &json!(3)), "{last}");
        let log = emulator.telemetry(HUB).expect("the hub").all();
        let bodies: Vec<_> = log.iter().map(|it| it.message.body.to_vec()).collect();
        assert_eq!(bodies, [b"one".to_vec(), b" \xff".to_vec(), b"last".to_vec()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_sends_a_file_as_one_message_and_repeats_it() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body.json");
    std::fs::write(&file, "{\"a\":\n1}\n").expect("a file");
    let arguments = ["send", "--file", file.to_str().expect("text"), "--json", "--count", "3", "--interval", "1ms"];
    let ran = device("mqtt", &arguments, &variables).run().await;
    assert_eq!(ran.last().expect("a result")["acknowledged"], 3, "{}", ran.stderr_text());
    let whole = device("mqtt", &["send", "--file", "-", "--message-id", "m-1"], &variables).stdin("a\nb").run().await;
    assert_eq!(whole.last().expect("a result")["acknowledged"], 1, "{}", whole.stderr_text());
    assert_eq!(bodies(&emulator), ["{\"a\":\n1}\n", "{\"a\":\n1}\n", "{\"a\":\n1}\n", "a\nb"]);
    let log = emulator.telemetry(HUB).expect("the hub").all();
    let system: Vec<_> = log[0].message.system_properties().map(|(_, value)| value.to_owned()).collect();
    assert_eq!(system[1..], ["application/json", "utf-8"]);
    assert_eq!(log[3].message.id(), Some("m-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_string_is_read_from_a_file_standard_input_or_the_command_line() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let mut variables = known(&emulator, "dev-1");
    let (_, text) = variables.pop().expect("the connection string");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("device");
    std::fs::write(&file, format!("{text}\n")).expect("a file");
    let file = file.to_str().expect("text");
    let stdin = device("mqtt", &["send", "x", "--connection-string-file", "-"], &variables).stdin(text.clone());
    for (command, warns) in [
        (device("mqtt", &["send", "x", "--connection-string-file", file], &variables), false),
        (stdin, false),
        (device("mqtt", &["send", "x", "--connection-string", &text], &variables), true),
    ] {
        let ran = command.run().await;
        assert_eq!(types(&ran.lines().expect("lines")), ["connected", "sending", "sent", "result"]);
        let (_, key) = text.split_once("SharedAccessKey=").expect("a key");
        assert!(!ran.stdout_text().contains(key) && !ran.stderr_text().contains(key));
        assert_eq!(ran.stderr_text().contains("other users of this machine"), warns, "{}", ran.stderr_text());
    }
    assert_eq!(bodies(&emulator).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_sends_to_an_output_and_announces_its_model() {
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known_module(&emulator, "dev-1", "filter");
        let model = "dtmi:com:example:Thermostat;1";
        let arguments = [
            "send",
            "x",
            "--output-name",
            "alarms",
            "--model-id",
            model,
            "--keep-alive",
            "20s",
            "--token-lifetime",
            "10m",
        ];
        let ran = device(transport, &arguments, &variables).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        assert_eq!((&lines[0]["deviceId"], &lines[0]["moduleId"]), (&json!("dev-1"), &json!("filter")));
        let log = emulator.telemetry(HUB).expect("the hub").all();
        assert_eq!((log[0].device_id.as_str(), log[0].module_id.as_deref()), ("dev-1", Some("filter")));
        assert_eq!(log[0].message.system_properties().next(), Some(("$.on", "alarms")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_counts_the_acknowledged_messages() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    emulator.fault(Point::HubPublish, Fault::Delay(std::time::Duration::ZERO)).expect("a valid fault");
    emulator.fault_always(Point::HubPublish, Fault::HoldPuback).expect("a valid fault");
    let ran = device("mqtt", &["send", "a", "b", "c", "--timeout", "12s"], &variables).run().await;
    let last = ran.last().expect("an error");
    assert_eq!(
        (&last["exitCode"], &last["stage"], &last["fault"]),
        (&json!(10), &json!("hub-send"), &json!("deadline"))
    );
    assert_eq!(last["message"], "1 of 3 messages acknowledged");
    assert_eq!(last["endpoint"], "localhost:8883");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_of_send_are_refused_before_connecting() {
    let (emulator, enrolled) = cloud().await;
    let folder = tempfile::tempdir().expect("a folder");
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 262_144]).expect("a file");
    let large = large.to_str().expect("text");
    let through_dps = enrolled.vars();
    let known = known(&emulator, "dev-2");
    let refusal = Fault::status(400, 400_000, "it registered");
    emulator.fault_always(Point::DpsRegister, refusal).expect("a valid fault");
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("a valid fault");
    let string = |text: &str| vec![("IOTHUB_DEVICE_CONNECTION_STRING", text.to_owned())];
    for (arguments, variables, exit_code, expected) in [
        (["send", "--file", large].as_slice(), &through_dps, 2, "262144"),
        (&["send", "--file", "/nowhere/body"], &through_dps, 2, "/nowhere/body"),
        (&["send", "--json", "{"], &through_dps, 2, "not JSON"),
        (&["send", "x", "--property", "=v"], &through_dps, 2, "NAME=VALUE"),
        (&["send", "x", "y", "--message-id", "m"], &through_dps, 2, "--message-id works with one message only"),
        (&["send", "--count", "2"], &through_dps, 2, "--count"),
        (&["send", "x", "--output-name", "o"], &known, 2, "--output-name is only for modules"),
        (&["send", "x", "--keep-alive", "20m"], &known, 2, "1177s"),
        (&["send", "x", "--token-lifetime", "1s"], &known, 2, "at least 2s"),
        (&["send", "x", "--message-id", &"m".repeat(129)], &known, 2, "129 bytes"),
        (&["send", "--symmetric-key-stdin"], &through_dps, 2, "standard input holds the key"),
        (&["send", "x", "--connection-string-file", "f", "--id-scope", "0ne1"], &known, 2, "--id-scope"),
        (&["send", "x", "--connection-string-file", "/nowhere/cs"], &known, 2, "/nowhere/cs"),
        (&["send", "x"], &vec![], 2, "not set: PROVISIONING_HOST"),
        (&["send", "x"], &string("HostName=h;DeviceId=d"), 2, "no `SharedAccessKey`"),
        (&["send", "x"], &string("HostName=h;DeviceId=d;x509=true"), 2, "X509_CERT_FILE, X509_KEY_FILE"),
        (&["send", "x"], &string("HostName=h;DeviceId=d;SharedAccessKey=x;GatewayHostName=e"), 11, "`GatewayHostName`"),
    ] {
        assert_refused(arguments, variables, exit_code, expected).await;
    }
    for variables in [&through_dps, &known] {
        let https = device("https", &["send", "x"], variables).run().await;
        let last = https.last().expect("an error");
        assert_eq!((&last["exitCode"], &last["fault"]), (&json!(11), &json!("unsupported")));
        assert!(last["message"].as_str().is_some_and(|it| it.contains("https does not reach hubs yet")), "{last}");
        assert!(last["hint"].as_str().is_some_and(|it| it.contains("--transport mqtt or mqtt-ws")), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_stops_at_an_invalid_line_and_reports_the_acknowledged_messages() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let mut input = b"one\n".to_vec();
    input.extend(vec![b'x'; 262_145]);
    let ran = device("mqtt", &["send"], &variables).stdin(input).run().await;
    let last = ran.last().expect("an error");
    assert_eq!((&last["exitCode"], &last["message"]), (&json!(2), &json!("1 of 2 messages acknowledged")));
    let json = device("mqtt", &["send", "--json"], &variables).stdin("{}\nno\n{}\n").run().await;
    let last = json.last().expect("an error");
    assert_eq!(last["exitCode"], 2);
    assert!(last["message"].as_str().is_some_and(|it| it.contains("after 1 messages: --json")), "{last}");
    assert_eq!(bodies(&emulator), ["one", "{}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_output_shows_connection_messages_and_acknowledgements() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let ran = Invocation::hubward(["device", "send", "x"]).vars(&known(&emulator, "dev-1")).run().await;
    let expected = "dev-1 at localhost is connected over mqtt\nsending message #1\ndone sending message #1\n\
                    1 of 1 messages acknowledged\n";
    assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(0), expected), "{}", ran.stderr_text());
}
