//! `hubward device method serve`.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use hubward_emulator::{Emulator, Fault, Invocation, MethodResult, Point};
use serde_json::{Value, json};

use super::device::{HUB, TRANSPORTS, assert_refused, device, known, types};
use super::running::Running;

/// A script whose answer depends on the method name. For `echo`, it returns the payload that it received.
const SCRIPT: &str = r#"#!/bin/sh
payload=$(cat)
case "$1" in
    echo) printf '{"payload": %s, "name": "%s", "secret": "%s"}' "$payload" "$HUBWARD_METHOD" \
        "$IOTHUB_DEVICE_CONNECTION_STRING$IOTHUB_CONNECTION_STRING$PROVISIONING_CONNECTION_STRING" ;;
    fail) echo '{"why": "full"}'; exit 3 ;;
    quiet) ;;
    words) echo no json ;;
    large) head -c 200000 /dev/zero | tr '\0' 1 ;;
    hang) exec sleep 1000 ;;
    leave) sleep 1000 & echo $! > "$0.id.new"; mv "$0.id.new" "$0.id"; wait ;;
esac
"#;

fn script() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("answer.sh");
    std::fs::write(&path, SCRIPT).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("the file's owner");
    let path = path.to_str().expect("text").to_owned();
    (folder, path)
}

async fn call(emulator: &Emulator, name: &str, payload: Option<Value>) -> MethodResult {
    let mut invocation = Invocation::new(name).connect_timeout(Duration::from_secs(60));
    invocation.payload = payload;
    emulator.invoke_method(HUB, "dev-1", invocation).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_runs_a_program_for_each_call() {
    let (_folder, path) = script();
    for transport in TRANSPORTS {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let mut variables = known(&emulator, "dev-1");
        // These connection strings of an operator must not reach the script.
        variables.push(("IOTHUB_CONNECTION_STRING", emulator.hub_connection_string(HUB).expect("a login")));
        variables.push(("PROVISIONING_CONNECTION_STRING", emulator.dps_connection_string()));
        let arguments = ["method", "serve", "--exec", &path, "--call-timeout", "15s"];
        let mut running = Running::start(device(transport, &arguments, &variables));
        running.json_until("connected").await;
        for (name, payload, status, answer) in [
            ("echo", Some(json!({"a": [1]})), 200, json!({"payload": {"a": [1]}, "name": "echo", "secret": ""})),
            ("fail", None, 500, json!({"why": "full"})),
            ("quiet", Some(json!(null)), 200, json!(null)),
            ("words", None, 500, json!({"error": "the program's answer is not JSON"})),
            ("large", None, 500, json!({"error": "the answer has more than 131072 bytes"})),
            ("hang", None, 504, json!({"error": "the program took longer than 15s and was killed"})),
        ] {
            let result = call(&emulator, name, payload.clone()).await;
            assert_eq!((result.status, result.payload.unwrap_or_default()), (status, answer.clone()), "{name}");
            let lines = running.json_until("answer").await;
            assert_eq!(types(&lines), ["call", "answer"]);
            let facts = (&lines[0]["method"], &lines[0]["payload"]);
            assert_eq!(facts, (&json!(name), &payload.unwrap_or_default()));
            assert_eq!((&lines[1]["status"], &lines[1]["payload"]), (&json!(status), &answer));
            assert_eq!(lines[1]["problem"].is_null(), status == 200, "{name}: {}", lines[1]);
            assert_eq!(lines[0]["call"], lines[1]["call"]);
        }
        let (ended, rest, stderr) = running.interrupt().await;
        assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
        let last: Value = serde_json::from_str(&rest).expect(&rest);
        assert_eq!((&last["type"], &last["calls"]), (&json!("result"), &json!(6)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn name_limits_the_methods_and_fixed_arguments_precede_the_method_name() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let script = r#"printf '["%s", "%s"]' "$1" "$2""#;
    let arguments =
        ["method", "serve", "--exec", "sh", "--name", "a", "--name", "b c", "--", "-c", script, "sh", "first"];
    let mut running = Running::start(device("mqtt", &arguments, &variables));
    running.json_until("connected").await;
    for (name, status, answer) in
        [("a", 200, Some(json!(["first", "a"]))), ("b c", 200, Some(json!(["first", "b c"]))), ("other", 404, None)]
    {
        let result = call(&emulator, name, None).await;
        assert_eq!(result.status, status, "{name}");
        if answer.is_some() {
            assert_eq!(result.payload, answer, "{name}");
        }
    }
    let (ended, rest, stderr) = running.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
    assert!(!rest.contains("other"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_of_serve_are_refused_before_connecting() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    emulator.fault_always(Point::HubConnect, Fault::Connack(5)).expect("a valid fault");
    let variables = known(&emulator, "dev-1");
    for arguments in [
        ["method", "serve", "--exec", "./no-such-program"].as_slice(),
        &["method", "serve", "--exec", "/etc/passwd"],
        &["method", "serve"],
        &["method", "serve", "--exec", "sh", "--call-timeout", "0s"],
    ] {
        assert_refused(arguments, &variables, 2, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn child_processes_of_the_program_end_with_the_command() {
    let (_folder, path) = script();
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    let mut running = Running::start(device("mqtt", &["method", "serve", "--exec", &path], &variables));
    running.json_until("connected").await;
    let invocation = Invocation::new("leave").connect_timeout(Duration::from_secs(60));
    let calling = emulator.invoke_method(HUB, "dev-1", invocation);
    let started = async {
        loop {
            if let Ok(id) = std::fs::read_to_string(format!("{path}.id")) {
                return id.trim().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let id = tokio::select! {
        _ = calling => panic!("the call returned, but the program never ends"),
        id = started => id,
    };
    let (ended, rest, stderr) = running.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
    // Ctrl-C must also end the process that the script has started. Wait until this process has ended. A zombie (state
    // Z) counts as ended: it has ended, but its parent has not yet asked for its exit status.
    while std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|it| !it.contains(") Z ")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
