//! Runs the examples of the crate `hubward` against the emulator. Each test checks what the example prints, and what it
//! changes in the emulator.
//!
//! The example `quickstart` is the program of the README. The module `readme` runs it.

mod from_python;

use hubward_emulator::{CloudToDevice, Emulator, InvokeError, MethodResult};
use hubward_tests::binary::example;
use hubward_tests::command::Invocation;
use serde_json::{Value, json};

use crate::cli::running::Running;

const HUB: &str = "localhost";

/// The transports that reach a hub.
const TRANSPORTS: [&str; 2] = ["mqtt", "mqtt-ws"];

/// Starts an example with these environment variables.
fn start(name: &str, variables: &[(&str, String)]) -> Running {
    Running::start(Invocation::of(&example(name)).vars(variables))
}

/// Waits until an example ends. Returns its exit code and the rest of its output.
async fn end(program: Running) -> (Option<i32>, String) {
    let (ended, stdout, stderr) = program.end().await;
    assert_eq!(stderr, "");
    (ended.code(), stdout)
}

/// Ends an example with Ctrl-C. Returns its exit code and the rest of its output.
async fn interrupt(program: Running) -> (Option<i32>, String) {
    let (ended, stdout, stderr) = program.interrupt().await;
    assert_eq!(stderr, "");
    (ended.code(), stdout)
}

/// An emulator with one enrollment, and the environment variables of its device.
async fn cloud(transport: &str) -> (Emulator, Vec<(&'static str, String)>) {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let mut variables = emulator.enroll("dev-1").expect("a valid id").vars();
    variables.push(("HUBWARD_TRANSPORT", transport.to_owned()));
    (emulator, variables)
}

async fn call(emulator: &Emulator, name: &str, payload: Value) -> Result<MethodResult, InvokeError> {
    let invocation = hubward_emulator::Invocation::new(name).payload(payload);
    emulator.invoke_method(HUB, "dev-1", invocation.connect_timeout(std::time::Duration::from_secs(60))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stay_connected() {
    for transport in TRANSPORTS {
        let emulator = Emulator::builder().hubs([HUB, "127.0.0.1"]).start().await.expect("the emulator starts");
        let enroll = |hub| emulator.enrollment("dev-1").hubs([hub]).create().expect("a valid id");
        let folder = tempfile::tempdir().expect("a folder");
        let cache = folder.path().join("assignment.cache");
        let mut variables = enroll(HUB).vars();
        variables.push(("HUBWARD_TRANSPORT", transport.to_owned()));
        variables.push(("HUBWARD_CACHE_FILE", cache.display().to_string()));
        let mut program = start("stay_connected", &variables);
        for line in [
            "the device registers at localhost with the primary key: the device has no hub yet",
            "DPS assigned the device to localhost as dev-1",
            "the hub localhost accepted the device with the primary key",
            "reported",
        ] {
            assert_eq!(program.next_line().await, line, "{transport}");
        }
        enroll("127.0.0.1");
        let result = call(&emulator, "reprovision", Value::Null).await.expect("an answer");
        assert_eq!(result.status, 200, "{transport}");
        for line in [
            "an operator called the method `reprovision`: the device registers again",
            "the device registers at localhost with the primary key: it was requested",
            "DPS moved the device from localhost to 127.0.0.1 as dev-1; its twin moved with it",
            "the hub 127.0.0.1 accepted the device with the primary key; it was at localhost before, so the \
             program should report all properties again",
            "reported",
        ] {
            assert_eq!(program.next_line().await, line, "{transport}");
        }
        assert_eq!(interrupt(program).await, (Some(0), String::new()), "{transport}");
        assert!(cache.exists(), "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn send_telemetry() {
    for transport in TRANSPORTS {
        let (emulator, variables) = cloud(transport).await;
        let (code, stdout) = end(start("send_telemetry", &variables)).await;
        let expected = format!("the reading is at the hub\n{}", "acknowledged\n".repeat(5));
        assert_eq!((code, stdout.as_str()), (Some(0), expected.as_str()), "{transport}");
        let log = emulator.telemetry(HUB).expect("the hub").all();
        let bodies: Vec<_> = log.iter().map(|it| String::from_utf8_lossy(&it.message.body).into_owned()).collect();
        assert_eq!(bodies, [r#"{"temperature":21.5}"#, "line 1", "line 2", "line 3", "line 4", "line 5"]);
        assert_eq!(log[0].message.properties().collect::<Vec<_>>(), [("room", Some("attic"))]);
        assert_eq!(log[5].message.id(), Some("m-5"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_a_method() {
    for transport in TRANSPORTS {
        let (emulator, variables) = cloud(transport).await;
        let mut program = start("answer_a_method", &variables);
        assert_eq!(program.next_line().await, "ready");
        for (name, payload, status, answer) in [
            ("setInterval", json!({"seconds": 5}), 200, json!({"seconds": 5})),
            ("setInterval", json!({"seconds": 0}), 400, json!({"error": "the interval must not be zero"})),
            ("setInterval", json!("soon"), 400, Value::Null),
            ("other", json!(1), 404, Value::Null),
        ] {
            let result = call(&emulator, name, payload.clone()).await.expect("an answer");
            assert_eq!(result.status, status, "{name} {payload}: {result:?}");
            if !answer.is_null() {
                assert_eq!(result.payload, Some(answer));
            }
        }
        assert_eq!(program.next_line().await, "the interval is 5 s");
        assert_eq!(interrupt(program).await, (Some(0), String::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_desired_properties() {
    for transport in TRANSPORTS {
        let (emulator, variables) = cloud(transport).await;
        let mut program = start("follow_desired_properties", &variables);
        assert_eq!(program.next_line().await, "version 1: interval None");
        assert_eq!(program.next_line().await, "reported, version 2");
        let version = emulator.patch_desired(HUB, "dev-1", json!({"interval": 5})).expect("a patch");
        assert_eq!(program.next_line().await, format!("version {version}: interval Some(5)"));
        assert_eq!(program.next_line().await, "reported, version 3");
        let reported = || emulator.twin(HUB, "dev-1").expect("a twin").reported;
        assert_eq!(Value::from(reported().values), json!({"interval": 5}));
        let version = emulator.patch_desired(HUB, "dev-1", json!({"interval": "soon"})).expect("a patch");
        let line = program.next_line().await;
        assert!(line.starts_with(&format!("version {version} does not fit: ")), "{line}");
        let problem = emulator.wait_until(|it| it.twin(HUB, "dev-1")?.reported.get("problem").cloned()).await;
        assert!(problem.as_str().is_some_and(|it| it.contains("soon")), "{problem}");
        assert_eq!(interrupt(program).await, (Some(0), String::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receive_c2d() {
    for transport in TRANSPORTS {
        let (emulator, variables) = cloud(transport).await;
        // Create the device at the hub now, before the device registers. Otherwise the hub would refuse a message for
        // the device.
        emulator.add_device(HUB, "dev-1").expect("a valid id");
        let message = CloudToDevice::new("open the valve").message_id("m-1").property("urgent", "yes");
        emulator.send_to_device(HUB, "dev-1", message).expect("room in the queue");
        let mut program = start("receive_c2d", &variables);
        for expected in ["message m-1: open the valve", "  urgent=yes", "completed"] {
            assert_eq!(program.next_line().await, expected, "{transport}");
        }
        emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
        assert_eq!(interrupt(program).await, (Some(0), String::new()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_as_a_module() {
    for transport in TRANSPORTS {
        let (emulator, mut variables) = cloud(transport).await;
        emulator.add_device(HUB, "dev-1").expect("a valid id");
        let key = emulator.add_module(HUB, "dev-1", "filter").expect("a valid id").expose_base64();
        let text = format!("HostName={HUB};DeviceId=dev-1;ModuleId=filter;SharedAccessKey={}", key.as_str());
        variables.retain(|(name, _)| name.starts_with("HUBWARD_"));
        variables.push(("IOTHUB_DEVICE_CONNECTION_STRING", text));
        let mut program = start("run_as_a_module", &variables);
        assert_eq!(program.next_line().await, "ready");
        for (input, reading, expected) in [
            ("readings", "21.5", "21.5 is fine"),
            ("readings", "34", "34 is too hot"),
            ("others", "50", "50 is fine"),
            ("readings", "hot", "no reading"),
        ] {
            let message = CloudToDevice::new(reading);
            emulator.send_to_input(HUB, "dev-1", "filter", input, message).expect("room in the queue");
            assert_eq!(program.next_line().await, expected, "{transport}");
        }
        assert_eq!(interrupt(program).await, (Some(0), String::new()));
        let log = emulator.telemetry(HUB).expect("the hub").all();
        assert_eq!(log.len(), 1, "the module forwards only readings that are too hot");
        assert_eq!((&log[0].message.body[..], log[0].module_id.as_deref()), (b"34".as_slice(), Some("filter")));
        assert_eq!(log[0].message.system_properties().collect::<Vec<_>>(), [("$.on", "alarms")]);
    }
}

/// Fails if an example has no test with its name.
#[test]
fn every_example_is_run() {
    let folder = hubward_tests::binary::repository().join("crates/hubward/examples");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the examples")
        .map(|it| it.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let tested = include_str!("mod.rs");
    for name in names.iter().filter(|it| *it != "quickstart") {
        assert!(tested.contains(&format!("async fn {name}()")), "no test runs the example {name}");
    }
    assert!(names.len() >= 6, "{names:?}");
}

/// A user can copy an example without adding dependencies other than `hubward` and the runtime.
#[test]
fn an_example_imports_only_hubward_and_the_standard_library() {
    let folder = hubward_tests::binary::repository().join("crates/hubward/examples");
    let mut imports = 0;
    for entry in std::fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("an example");
        for import in text.lines().filter_map(|it| it.strip_prefix("use ")) {
            let is_allowed = ["std::", "hubward::"].iter().any(|it| import.starts_with(it));
            assert!(is_allowed, "{}: use {import}", path.display());
            imports += 1;
        }
    }
    assert!(imports >= 12, "only {imports} imports");
}
