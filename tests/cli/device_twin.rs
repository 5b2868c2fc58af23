//! `hubward device twin`.

use hubward_emulator::{Emulator, Fault, Point};
use serde_json::json;

use super::cloud;
use super::device::{HUB, TRANSPORTS, assert_refused, device, known, types};
use super::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_desired_and_reported_properties() {
    for transport in TRANSPORTS {
        let (emulator, enrolled) = cloud().await;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("state.json");
        std::fs::write(&file, r#"{"fan": {"speed": 3}}"#).expect("a file");
        for (more, stdin, version) in [
            (vec![r#"{"firmware": "2.1", "old": 1}"#], "", 2),
            (vec!["--file", file.to_str().expect("text")], "", 3),
            (vec!["--file", "-"], r#"{"old": null}"#, 4),
        ] {
            let arguments = [vec!["twin", "report"], more].concat();
            let ran = device(transport, &arguments, &enrolled.vars()).stdin(stdin).run().await;
            let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
            assert_eq!(types(&lines), ["provisioning", "assigned", "connected", "reported", "result"]);
            assert_eq!(lines[3]["reportedVersion"], version);
        }
        let version = emulator.patch_desired(HUB, "dev-1", json!({"interval": 5})).expect("a patch");
        let ran = device(transport, &["twin", "show"], &enrolled.vars()).run().await;
        let lines = ran.lines().expect("lines");
        assert_eq!(types(&lines), ["provisioning", "assigned", "connected", "twin", "result"]);
        assert_eq!(lines[3]["desired"], json!({"version": version, "properties": {"interval": 5}}));
        let reported = json!({"firmware": "2.1", "fan": {"speed": 3}});
        assert_eq!(lines[3]["reported"], json!({"version": 4, "properties": reported}));
        let twin = emulator.twin(HUB, "dev-1").expect("a twin");
        assert_eq!(json!(twin.reported.values), reported);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_changes_until_ctrl_c() {
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known(&emulator, "dev-1");
        let mut running = Running::start(device(transport, &["twin", "watch"], &variables));
        let lines = running.json_until("desired").await;
        assert_eq!(types(&lines), ["connected", "desired"]);
        let first = lines[1]["desiredVersion"].as_u64().expect("a version");
        for (patch, properties) in
            [(json!({"a": 1}), json!({"a": 1})), (json!({"b": {"c": 2}, "a": null}), json!({"b": {"c": 2}}))]
        {
            let version = emulator.patch_desired(HUB, "dev-1", patch).expect("a patch");
            let line = running.json().await;
            assert_eq!((&line["desiredVersion"], &line["properties"]), (&json!(version), &properties), "{line}");
            assert!(version > first);
        }
        let (ended, rest, stderr) = running.interrupt().await;
        assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
        let last: serde_json::Value = serde_json::from_str(&rest).expect(&rest);
        assert_eq!((&last["type"], &last["desired"], &last["exitCode"]), (&json!("result"), &json!(3), &json!(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_ends_after_the_duration_of_for() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let ran = device("mqtt", &["twin", "watch", "--for", "1s"], &known(&emulator, "dev-1")).run().await;
    assert_eq!((ran.code, ran.last().expect("a result")["type"].clone()), (Some(0), json!("result")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_report_is_refused_before_connecting() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("a valid fault");
    let large = json!({"a": "x".repeat(4096), "b": vec!["x".repeat(4096); 8]}).to_string();
    for (arguments, expected) in [
        (["twin", "report", "[1]"].as_slice(), "not an object"),
        (&["twin", "report", "{"], "not JSON"),
        (&["twin", "report", r#"{"a.b": 1}"#], "`a.b`"),
        (&["twin", "report", &large], "32768"),
        (&["twin", "report", "--file", "/nowhere"], "/nowhere"),
        (&["twin", "report"], "<JSON>"),
    ] {
        assert_refused(arguments, &variables, 2, expected).await;
    }
}
