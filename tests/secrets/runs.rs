//! Scans everything that the program prints at trace level, in runs that succeed and in runs that fail.

use std::time::Duration;

use hubward::TransportKind;
use hubward_emulator::{BadCertificate, Builder, DEV_GROUP_KEY, Emulator, EnrollmentGroup, Fault, Point};
use hubward_sas::SharedKey;
use hubward_tests::command::{Invocation, Ran};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::scanner::Scanner;

const SUCCESS: Case = Case {
    name: "success",
    cloud: |it| it,
    arrange: |_| {},
    arguments: &["--messages", "3"],
    wrong_key: false,
    exit_code: 0,
};

const CASES: &[Case] = &[
    SUCCESS,
    Case { name: "a wrong key", wrong_key: true, exit_code: 5, ..SUCCESS },
    Case {
        name: "an expired token",
        arrange: |it| it.clock_ahead(Duration::from_secs(2 * 60 * 60)),
        exit_code: 5,
        ..SUCCESS
    },
    Case {
        name: "an unknown ID scope",
        arguments: &["--id-scope", "0ne00FFFFFF", "--timeout", "6s"],
        exit_code: 6,
        ..SUCCESS
    },
    Case { name: "disabled", arrange: |it| it.disable("dev-1").expect("enrolled"), exit_code: 6, ..SUCCESS },
    Case {
        name: "throttled",
        arrange: |it| it.fault_always(Point::DpsRegister, Fault::throttled("600")).expect("fits"),
        exit_code: 7,
        ..SUCCESS
    },
    Case {
        name: "connection lost while assigning",
        arrange: |it| it.fault(Point::DpsPoll, Fault::Cut).expect("fits"),
        ..SUCCESS
    },
    Case {
        name: "an answer that repeats the request",
        arrange: |it| it.fault_always(Point::DpsRegister, Fault::gateway_html()).expect("fits"),
        arguments: &["--timeout", "6s"],
        exit_code: 6,
        ..SUCCESS
    },
    Case { name: "untrusted", cloud: |it| it.certificate(BadCertificate::UntrustedCa), exit_code: 4, ..SUCCESS },
    Case {
        name: "refused by the hub",
        arrange: |it| it.fault_always(Point::HubConnect, Fault::Connack(5)).expect("fits"),
        exit_code: 5,
        ..SUCCESS
    },
    Case {
        name: "connection closed by the hub",
        arrange: |it| it.fault(Point::HubPublish, Fault::Cut).expect("fits"),
        ..SUCCESS
    },
    Case {
        name: "never acknowledged",
        arrange: |it| it.fault_always(Point::HubPublish, Fault::HoldPuback).expect("fits"),
        arguments: &["--messages", "2", "--timeout", "12s"],
        exit_code: 10,
        ..SUCCESS
    },
];

/// The output format and the log level of each run.
const OUTPUTS: [&[&str]; 2] = [&["--output", "json", "--log", "trace"], &["--output", "text", "--log", "trace"]];

/// One run.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    cloud: fn(Builder) -> Builder,
    arrange: fn(&Emulator),
    arguments: &'static [&'static str],
    /// Runs a device with the key of another device.
    wrong_key: bool,
    exit_code: i32,
}

impl Case {
    async fn run(self, kind: TransportKind) {
        let emulator = (self.cloud)(Emulator::builder()).start().await.expect("the emulator starts");
        let enrolled = emulator.enroll("dev-1").expect("a valid id");
        let other_key = SharedKey::generate().expect("a key");
        let mut variables = enrolled.vars();
        if self.wrong_key {
            for (_, value) in variables.iter_mut().filter(|(name, _)| *name == "PROVISIONING_SYMMETRIC_KEY") {
                *value = other_key.expose_base64().to_string();
            }
        }
        (self.arrange)(&emulator);
        let output = OUTPUTS[usize::from(self.exit_code == 0 || self.wrong_key)];
        let arguments = self.arguments.iter().chain(output).copied();
        let command = Invocation::hubward(["provision", "--transport", kind.as_str()]).args(arguments);
        let ran = command.vars(&variables).run().await;
        let scanner = Scanner::default()
            .key("the device's key", enrolled.primary_key())
            .key("the device's second key", enrolled.secondary_key())
            .key("the other device's key", &other_key);
        check(&format!("{} over {kind}", self.name), &ran, self.exit_code, &scanner);
    }
}

fn check(name: &str, ran: &Ran, exit_code: i32, scanner: &Scanner) {
    assert_eq!(ran.code, Some(exit_code), "{name}: {}\n{}", ran.stdout_text(), ran.stderr_text());
    let log = ran.stderr_text();
    assert!(log.contains("DEBUG hubward_dial"), "{name}: the run wrote no log:\n{log}");
    for bytes in [&ran.stdout, &ran.stderr] {
        scanner.assert_clean(name, bytes);
    }
}

async fn check_all(kind: TransportKind) {
    let _ = hubward_tests::binary::hubward();
    let mut runs = JoinSet::new();
    for case in CASES {
        runs.spawn(case.run(kind));
    }
    while let Some(run) = runs.join_next().await {
        run.expect("a run without a secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_has_a_secret_over_https() {
    check_all(TransportKind::Https).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_has_a_secret_over_mqtt() {
    check_all(TransportKind::Mqtt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_has_a_secret_over_mqtt_ws() {
    check_all(TransportKind::MqttWs).await;
}

/// Writes a key to a file. Returns the path of the file.
fn key_file(folder: &TempDir, key: &SharedKey) -> String {
    let path = folder.path().join("some.key");
    std::fs::write(&path, key.expose_base64().as_bytes()).expect("a file");
    path.to_str().expect("a path that is text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_has_a_secret_for_any_source_of_the_key() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let group: EnrollmentGroup = emulator.enroll_group("line-7").expect("a valid name");
    let (device, folder) = (group.device_key("pump-1"), tempfile::tempdir().expect("a folder"));
    let text = device.expose_base64();
    let variables: Vec<_> =
        group.vars("pump-1").into_iter().filter(|(name, _)| *name != "PROVISIONING_SYMMETRIC_KEY").collect();
    let scanner = Scanner::default()
        .key("the group's key", group.primary_key())
        .key("the group's second key", group.secondary_key())
        .key("the device's key", &device);
    let (group_file, empty) = (key_file(&folder, group.primary_key()), Vec::new());
    let file = tempfile::tempdir().expect("a folder");
    let device_file = key_file(&file, &device);
    for (arguments, stdin) in [
        (["--group-key-file", group_file.as_str()].as_slice(), empty.clone()),
        (&["--symmetric-key-file", &device_file], empty.clone()),
        (&["--symmetric-key-file", "-"], text.as_bytes().to_vec()),
        (&["--symmetric-key-stdin"], text.as_bytes().to_vec()),
        (&["--symmetric-key", &text], empty),
    ] {
        let fixed = ["provision", "--messages", "1", "--log", "trace"];
        let command = Invocation::hubward(fixed).args(arguments.iter().copied()).vars(&variables).stdin(stdin);
        let ran = command.run().await;
        check(arguments[0], &ran, 0, &scanner);
        // `--symmetric-key` works, and the program warns about it.
        assert_eq!(ran.stderr_text().contains("prefer --symmetric-key-file"), arguments[0] == "--symmetric-key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_about_a_key_contains_the_key() {
    // Not base64, and truncated base64.
    for wrong in ["bm90IGEga2V5IGJ1dCBhIHNlY3JldCBhbGwgdGhlIHNhbWU*", "bm90IGEga2V5IGJ1dCBhIHNlY3JldCBhbGwgdGhlIHNhbWU"]
    {
        let variables = [("PROVISIONING_SYMMETRIC_KEY", wrong.to_owned())];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wrong.key");
        std::fs::write(&path, wrong).expect("a file");
        let path = path.to_str().expect("a path that is text");
        for arguments in [
            ["provision", "--registration-id", "d"].as_slice(),
            &["provision", "--symmetric-key", wrong],
            &["provision", "--registration-id", "d", "--symmetric-key-file", path],
            &["provision", "--registration-id", "d", "--group-key-file", path],
            &["sas", "derive-key", "--registration-id", "d", "--group-key-file", path],
            &["sas", "token", "--resource", "h/devices/d"],
            &["sas", "token", "--resource", "h/devices/d", "--symmetric-key-file", path],
        ] {
            for output in ["json", "text"] {
                let fixed = ["--output", output, "--log", "trace"];
                let ran = Invocation::hubward(fixed).args(arguments.iter().copied()).vars(&variables).run().await;
                assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr_text());
                let output = format!("{}{}", ran.stdout_text(), ran.stderr_text());
                assert!(!output.contains(&wrong[..16]), "{arguments:?}: {output}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_log_has_no_secret() {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_str().expect("a path that is text");
    let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
    let fixed =
        ["emulator", "--dev-keys", "--retry-after", "0s", "--output", "json", "--log", "trace", "--data-dir", data_dir];
    let mut child = Invocation::hubward(fixed).args(ports).spawn();
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut stderr = child.stderr.take().expect("a pipe");
    let log = tokio::spawn(async move {
        let mut log = Vec::new();
        stderr.read_to_end(&mut log).await.map(|_| log)
    });
    let ready = lines.next_line().await.expect("stdout").expect("a line");
    let device = lines.next_line().await.expect("stdout").expect("a line");
    let device: serde_json::Value = serde_json::from_str(&device).expect("JSON");
    let variables: Vec<(String, String)> =
        serde_json::from_value::<std::collections::BTreeMap<String, String>>(device["variables"].clone())
            .expect("variables")
            .into_iter()
            .collect();
    for kind in ["https", "mqtt", "mqtt-ws"] {
        let arguments = ["provision", "--transport", kind, "--messages", "2"];
        let ran = Invocation::hubward(arguments).vars(&variables).run().await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
        let refused = Invocation::hubward(arguments).vars(&variables).args(["--registration-id", "other"]).run().await;
        assert_eq!(refused.code, Some(5), "{}", refused.stderr_text());
    }
    child.kill().await.expect("it runs");
    let log = log.await.expect("no panic").expect("stderr");
    let group = SharedKey::from_base64(DEV_GROUP_KEY).expect("a key");
    let id = device["variables"]["PROVISIONING_REGISTRATION_ID"].as_str().expect("an id").to_owned();
    let scanner = Scanner::default().key("the group's key", &group).key("the device's key", &group.derive(&id));
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("DPS refuses a device") && text.contains("DEBUG"), "the emulator wrote no log:\n{text}");
    for bytes in [log.as_slice(), ready.as_bytes()] {
        scanner.assert_clean("hubward emulator", bytes);
    }
}

/// Runs the scanner on commands that print a secret on purpose. The scanner must find the secret.
#[tokio::test(flavor = "multi_thread")]
async fn the_scanner_finds_a_secret_that_a_command_prints_on_purpose() {
    let key = SharedKey::generate().expect("a key");
    let text = key.expose_base64();
    for (arguments, stdin, scanner) in [
        (["sas", "token", "--resource", "localhost/devices/d", "--symmetric-key-stdin"], &text, Scanner::default()),
        (
            ["sas", "derive-key", "--registration-id=d", "--group-key-file", "-"],
            &text,
            Scanner::default().key("the derived key", &key.derive("d")),
        ),
    ] {
        for output in ["--output=json", "--output=text"] {
            let ran = Invocation::hubward(arguments).args([output]).stdin(stdin.as_bytes()).run().await;
            assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
            assert!(!scanner.find(&ran.stdout).is_empty(), "{}", ran.stdout_text());
        }
    }
}
