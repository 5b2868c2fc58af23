//! Tests in which the output of a command cannot be written. Each command must fail. `c2d receive` must complete only
//! the messages that it has printed.
//!
//! The tests use three outputs: `/dev/full`, where every write fails; a pipe whose read end is closed; and a file with
//! a maximum size, where a write fails if the file would exceed this size.

use std::fs::File;
use std::process::Stdio;

use hubward_emulator::{CloudToDevice, Emulator};
use hubward_tests::command::Invocation;
use hubward_tests::pki::{Authority, Validity};
use serde_json::json;

use super::device::{HUB, device, known};
use super::emulator::folder;
use super::help::{commands, subcommands};
use super::running::{Running, line_variables, variables};

/// The exit code if the command cannot write its output. See docs/cli.md.
const OUTPUT: Option<i32> = Some(12);
/// The exit code if the reader has closed the pipe. See docs/cli.md.
const CLOSED_PIPE: Option<i32> = Some(141);

/// Each command, with arguments that cause output. In the arguments, `~` stands for a space; `SEED`, `KEY`, `ROOT` and
/// `PROOF` stand for the paths of files; `OUT` at the beginning stands for the path of a folder.
///
/// The order matters: some commands change what later commands print.
const COMMANDS: &[(&str, &str)] = &[
    ("quickstart", ""),
    ("provision", ""),
    ("device send", "21.5"),
    ("device twin show", ""),
    ("device twin report", "{}"),
    ("device twin watch", "--for 60s"),
    ("device method serve", "--exec true --for 60s"),
    ("device c2d receive", "--count 1"),
    ("device run", "--for 60s --interval 10ms"),
    ("dps enrollment create", "--enrollment-id new-1"),
    ("dps enrollment show", "--enrollment-id dev-1"),
    ("dps enrollment list", ""),
    ("dps enrollment update", "--enrollment-id dev-1 --provisioning-status enabled"),
    ("dps enrollment registration show", "--enrollment-id dev-1"),
    ("dps enrollment registration delete", "--enrollment-id dev-1"),
    ("dps enrollment delete", "--enrollment-id dev-1"),
    ("dps enrollment-group create", "--enrollment-id line-8"),
    ("dps enrollment-group show", "--enrollment-id line-7"),
    ("dps enrollment-group list", ""),
    ("dps enrollment-group update", "--enrollment-id line-7 --provisioning-status enabled"),
    ("dps enrollment-group compute-device-key", "--enrollment-id line-7 --registration-id x"),
    ("dps enrollment-group registration list", "--enrollment-id line-7"),
    ("dps enrollment-group registration show", "--registration-id in-group"),
    ("dps enrollment-group registration delete", "--registration-id in-group"),
    ("dps enrollment-group delete", "--enrollment-id line-7"),
    ("dps certificate create", "-n root -p ROOT"),
    ("dps certificate show", "-n root"),
    ("dps certificate list", ""),
    ("dps certificate generate-verification-code", "-n root"),
    ("dps certificate verify", "-n proven -p PROOF"),
    ("dps certificate delete", "-n root"),
    ("hub device-identity create", "-d new-2"),
    ("hub device-identity show", "-d dev-1"),
    ("hub device-identity list", ""),
    ("hub device-identity update", "-d dev-1 --set status=enabled"),
    ("hub device-identity connection-string show", "-d dev-1"),
    ("hub module-identity create", "-d dev-1 -m new-3"),
    ("hub module-identity show", "-d dev-1 -m mod-1"),
    ("hub module-identity list", "-d dev-1"),
    ("hub module-identity update", "-d dev-1 -m mod-1 --set managedBy=x"),
    ("hub module-identity connection-string show", "-d dev-1 -m mod-1"),
    ("hub module-identity renew-key", "-d dev-1 -m mod-1 --key-type primary"),
    ("hub device-twin show", "-d dev-1"),
    ("hub device-twin update", "-d dev-1 --tags {\"a\":1}"),
    ("hub device-twin replace", "-d dev-1 --json {\"tags\":{}}"),
    ("hub module-twin show", "-d dev-1 -m mod-1"),
    ("hub module-twin update", "-d dev-1 -m mod-1 --tags {\"a\":1}"),
    ("hub module-twin replace", "-d dev-1 -m mod-1 --json {\"tags\":{}}"),
    ("hub invoke-device-method", "-d answering --mn ping"),
    ("hub invoke-module-method", "-d answering -m mod-1 --mn ping"),
    ("hub query", "-q SELECT~*~FROM~devices"),
    ("hub generate-sas-token", "-d dev-1"),
    ("hub c2d-message send", "-d dev-1 --data hello"),
    ("hub monitor-events", "--from 0 --count 1"),
    ("hub module-identity delete", "-d dev-1 -m mod-1"),
    ("hub device-identity renew-key", "-d dev-1 --key-type primary"),
    ("hub device-identity delete", "-d dev-1"),
    ("emulator", "--in-memory --mqtt-port 0 --https-port 0 --admin-port 0"),
    ("emulator env", ""),
    ("emulator events", ""),
    ("emulator trust", ""),
    ("emulator status", ""),
    ("emulator export", ""),
    ("emulator import", "SEED"),
    ("emulator reset", "--yes"),
    ("sas token", "--resource r"),
    ("sas derive-key", "--registration-id dev-1 --group-key-file KEY"),
    ("x509 new-ca", "--name root --out-dir OUT"),
    ("x509 new-intermediate", "--name line-7 --out-dir OUT --issuer-cert OUT/root.pem --issuer-key OUT/root.key"),
    ("x509 new-device", "--name dev-1 --out-dir OUT --issuer-cert OUT/root.pem --issuer-key OUT/root.key"),
    ("x509 new-csr", "--name dev-2 --out-dir OUT"),
    ("x509 prove", "--code 1234 --out-dir OUT --issuer-cert OUT/root.pem --issuer-key OUT/root.key"),
    ("x509 verify", "OUT/dev-1.pem"),
    ("completions", "bash"),
];

/// Commands whose response has no body. They print nothing with `--output json`.
const NO_BODY: &[&str] = &[
    "dps certificate delete",
    "dps enrollment delete",
    "dps enrollment registration delete",
    "dps enrollment-group delete",
    "dps enrollment-group registration delete",
    "hub device-identity delete",
    "hub module-identity delete",
];

/// A key of 64 bytes, like the keys that the services generate.
const KEY: &str = "bG9zdC1vdXRwdXQtbG9zdC1vdXRwdXQtbG9zdC1vdXRwdXQtbG9zdC1vdXRwdXQtbG9zdC1vdXRwdXQtbG9zdA==";

/// The verification code of the CA certificate `proven`.
const CODE: &str = "106A5D242AF512B3498BD6098C4941E66F34A268DDB32880";

/// Returns the certificate of a new authority, and a certificate that it has issued for [`CODE`].
fn authority() -> (String, String) {
    let root = Authority::root("root");
    (root.pem(), root.device(CODE, Validity::Now).leaf().to_pem())
}

/// A stdout to which every write fails.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("Linux has /dev/full").into()
}

/// A pipe whose read end is closed.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A running emulator that has an entity of every kind, and running devices that answer methods. `variables` contains
/// the environment variables for device commands and operator commands.
struct Setup {
    variables: Vec<(String, String)>,
    data_dir: String,
    seed: String,
    key: String,
    /// The folder for the files that the commands create.
    out: String,
    /// The certificate of an authority.
    root: String,
    /// The proof of the CA certificate `proven`.
    proof: String,
    _folder: tempfile::TempDir,
    running: Vec<Running>,
}

impl Setup {
    async fn new() -> Self {
        let (folder, data_dir) = folder();
        let [seed, key, root, proof] = ["seed.json", "key", "root.pem", "proof.pem"].map(|it| folder.path().join(it));
        let (root_pem, proof_pem) = authority();
        let shared_key = json!({ "primaryKey": KEY, "secondaryKey": KEY });
        let authentication = json!({ "type": "sas", "symmetricKey": shared_key });
        let attestation = json!({ "type": "symmetricKey", "symmetricKey": shared_key });
        let known = |id: &str| {
            let modules = [json!({ "moduleId": "mod-1", "authentication": authentication })];
            json!({ "deviceId": id, "hub": HUB, "authentication": authentication, "modules": modules })
        };
        let content = json!({
            "enrollments": [{ "registrationId": "dev-1", "attestation": attestation }],
            "enrollmentGroups": [{ "enrollmentGroupId": "line-7", "attestation": attestation }],
            "devices": [known("dev-1"), known("answering")],
            "certificateAuthorities": [
                { "name": "proven", "certificate": root_pem, "isVerified": false, "verificationCode": CODE },
            ],
        });
        std::fs::write(&seed, content.to_string()).expect("written");
        std::fs::write(&key, KEY).expect("written");
        std::fs::write(&root, root_pem).expect("written");
        std::fs::write(&proof, proof_pem).expect("written");
        let text = |path: std::path::PathBuf| path.to_str().expect("text").to_owned();
        let [seed, key, root, proof, out] = [seed, key, root, proof, folder.path().join("out")].map(text);
        let mut emulator = Running::emulator(&data_dir, ["--output", "json", "--seed", &seed]);
        emulator.json().await;
        let mut variables = variables(&emulator.json().await);
        variables.extend(line_variables(&emulator.json().await));
        let running = vec![emulator];
        let mut setup = Self { variables, data_dir, seed, key, out, root, proof, _folder: folder, running };
        setup.fill().await;
        setup
    }

    /// Registers the devices, sends messages in each direction, and starts a device and a module that answer methods.
    async fn fill(&mut self) {
        let commands = [
            "provision --messages 1",
            "provision --registration-id in-group --group-key-file KEY",
            "hub c2d-message send -d dev-1 --data hello",
        ];
        for arguments in commands {
            let ran = self.command(arguments).run().await;
            assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.stderr_text());
        }
        for module in ["", ";ModuleId=mod-1"] {
            let login = format!("HostName={HUB};DeviceId=answering{module};SharedAccessKey={KEY}");
            let device = self.command("device run --method ping=200,{} --output json");
            let mut device = Running::start(device.vars(&[("IOTHUB_DEVICE_CONNECTION_STRING", login)]));
            device.json_until("twin").await;
            self.running.push(device);
        }
    }

    fn command(&self, arguments: &str) -> Invocation {
        let arguments: Vec<String> = arguments
            .split_whitespace()
            .map(|it| match it {
                "SEED" => self.seed.clone(),
                "KEY" => self.key.clone(),
                "ROOT" => self.root.clone(),
                "PROOF" => self.proof.clone(),
                other => match other.strip_prefix("OUT") {
                    Some(file) => format!("{}{file}", self.out),
                    None => other.replace('~', " "),
                },
            })
            .collect();
        let data_dir = ("HUBWARD_DATA_DIR".to_owned(), self.data_dir.clone());
        Invocation::hubward(arguments.iter().map(String::as_str)).vars(&self.variables).vars(&[data_dir])
    }
}

#[tokio::test]
async fn the_list_contains_every_command() {
    let mut commands = commands().await;
    commands.retain(|(_, help)| {
        // Keep only the commands that a user can run: commands without subcommands, and commands whose subcommand is
        // optional. If a subcommand is optional, the usage has two lines, and only the second one contains `<COMMAND>`.
        let usage = help.split("Usage: ").nth(1).unwrap_or_default();
        subcommands(help).is_empty() || usage.lines().nth(1).is_some_and(|it| it.contains("<COMMAND>"))
    });
    let found: Vec<&str> = commands.iter().map(|(name, _)| name.as_str()).collect();
    let mut listed: Vec<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    listed.sort_unstable();
    assert_eq!(listed, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_fails_if_text_cannot_be_written() {
    let setup = Setup::new().await;
    for (command, arguments) in COMMANDS {
        let ran = setup.command(&format!("{command} {arguments}")).stdout(full()).run().await;
        let stderr = ran.stderr_text();
        assert_eq!(ran.code, OUTPUT, "{command}: {stderr}");
        assert!(stderr.contains("error: stdout cannot be written: "), "{command}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_fails_if_json_cannot_be_written() {
    let setup = Setup::new().await;
    for (command, arguments) in COMMANDS {
        let ran = setup.command(&format!("{command} {arguments} --output json")).stdout(full()).run().await;
        let (stderr, is_silent) = (ran.stderr_text(), NO_BODY.contains(command));
        assert_eq!(ran.code, if is_silent { Some(0) } else { OUTPUT }, "{command}: {stderr}");
        assert_eq!(stderr.contains("error: stdout cannot be written: "), !is_silent, "{command}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_every_command_without_a_message() {
    let setup = Setup::new().await;
    for (command, arguments) in COMMANDS {
        let ran = setup.command(&format!("{command} {arguments}")).stdout(closed_pipe()).run().await;
        assert_eq!((ran.code, ran.warnings().as_str()), (CLOSED_PIPE, ""), "{command}");
    }
}

#[tokio::test]
async fn help_fails_if_it_cannot_be_written() {
    for arguments in [["--help"].as_slice(), &["--version"], &["device", "send", "--help"]] {
        let ran = Invocation::hubward(arguments.iter().copied()).stdout(full()).run().await;
        assert_eq!(ran.code, OUTPUT, "{arguments:?}");
        let ran = Invocation::hubward(arguments.iter().copied()).stdout(closed_pipe()).run().await;
        assert_eq!((ran.code, ran.stderr_text().as_str()), (CLOSED_PIPE, ""), "{arguments:?}");
    }
}

/// Returns the IDs of the messages in the device's queue, in order.
fn waiting(emulator: &Emulator) -> Vec<String> {
    emulator.cloud_messages(HUB, "dev-1").into_iter().map(|it| it.message_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_printed_is_not_completed() {
    for command in [["c2d", "receive"].as_slice(), &["run"]] {
        let emulator = Emulator::start().await.expect("the emulator starts");
        let variables = known(&emulator, "dev-1");
        for number in 0..5 {
            let message = CloudToDevice::new("open the valve").message_id(format!("m-{number}"));
            emulator.send_to_device(HUB, "dev-1", message).expect("room in the queue");
        }
        let all = waiting(&emulator);
        for (target, code) in [(full(), OUTPUT), (closed_pipe(), CLOSED_PIPE)] {
            let ran = device("mqtt", command, &variables).stdout(target).run().await;
            assert_eq!(ran.code, code, "{command:?}: {}", ran.stderr_text());
            assert_eq!(waiting(&emulator), all, "{command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_do_not_fit_into_the_output_stay_in_the_queue() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    let variables = known(&emulator, "dev-1");
    for number in 0..40 {
        let message = CloudToDevice::new("x".repeat(100)).message_id(format!("m-{number:02}"));
        emulator.send_to_device(HUB, "dev-1", message).expect("room in the queue");
    }
    let all = waiting(&emulator);
    let folder = tempfile::tempdir().expect("a folder");
    let shown = folder.path().join("shown");
    // The shell limits the size of a file to a few KB. If the command writes more, the write fails. The shell ignores
    // SIGXFSZ, because this signal would otherwise kill the command.
    let script = r#"trap '' XFSZ; ulimit -f 4; exec "$0" "$@" > "$SHOWN""#;
    let program = hubward_tests::binary::hubward().to_str().expect("text");
    let ran = Invocation::of("/bin/sh".as_ref())
        .args(["-c", script, program, "device", "c2d", "receive", "--count", "40", "--output", "json"])
        .vars(&variables)
        .vars(&[("SHOWN", shown.to_str().expect("text").to_owned())])
        .run()
        .await;
    assert_eq!(ran.code, OUTPUT, "{}", ran.stderr_text());
    let shown = std::fs::read_to_string(shown).expect("text");
    let left = waiting(&emulator);
    let is_shown = |id: &String| shown.lines().any(|it| it.contains(&format!("\"{id}\"")) && it.ends_with('}'));
    let unshown: Vec<&String> = all.iter().filter(|it| !is_shown(it)).collect();
    assert!(unshown.len() < all.len(), "something was shown");
    assert!(unshown.iter().all(|it| left.contains(it)), "{unshown:?} were not shown, {left:?} are left");
}
