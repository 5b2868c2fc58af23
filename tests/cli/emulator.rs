//! `hubward emulator`: the ready lines, the lines for the shell, seeds, well-known keys, and ports in use.

use hubward_emulator::DEV_GROUP_KEY;
use hubward_tests::command::Invocation;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::http::get;
use super::running::{Running, variables};
use super::transports;

/// Creates a temporary folder. Returns the folder, and the path of a data directory inside the folder. The data
/// directory does not exist yet.
pub(super) fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data").to_str().expect("a path that is text").to_owned();
    (folder, path)
}

/// Runs `hubward provision`. Returns the last line as JSON if it is a `result` line. Otherwise returns the last line as
/// the error.
async fn provision(variables: &[(String, String)], more: &[&str]) -> Result<Value, String> {
    let command = Invocation::hubward(["provision", "--output", "json"]).args(more.iter().copied());
    let last = command.vars(variables).run().await.last()?;
    if last["type"] == "result" { Ok(last) } else { Err(last.to_string()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_its_addresses_and_the_variables_of_a_device() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json().await;
    assert_eq!((&ready["type"], &ready["version"]), (&json!("ready"), &json!(1)));
    for field in ["mqtt", "https", "hubs", "dpsHosts"] {
        assert!(ready[field].as_array().is_some_and(|it| !it.is_empty()), "no {field} in {ready}");
    }
    for field in ["admin", "caFile", "idScope", "emulatorVersion"] {
        assert!(ready[field].as_str().is_some_and(|it| !it.is_empty()), "no {field} in {ready}");
    }
    let device = variables(&running.json().await);
    let operator = running.json().await;
    assert_eq!(operator["type"], "operator");
    let login = operator["variables"]["PROVISIONING_CONNECTION_STRING"].as_str().expect("the login of DPS");
    assert!(
        login.starts_with("HostName=localhost;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey="),
        "{login}"
    );

    let admin = ready["admin"].as_str().expect("a URL").to_owned();
    assert!(get(&admin, "/health").await.starts_with("HTTP/1.1 200"));
    let pem = std::fs::read_to_string(ready["caFile"].as_str().expect("a path")).expect("a file");
    assert!(get(&admin, "/ca.pem").await.ends_with(&pem));

    for transport in transports() {
        let result = provision(&device, &["--transport", transport, "--messages", "10"]).await;
        assert_eq!(result.expect(transport)["acknowledged"], 10);
    }
    let (ended, rest, _) = running.interrupt().await;
    assert_eq!((ended.code(), rest.as_str()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_lines_work_in_a_shell() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, []);
    let shown = running.text_until("# then: hubward provision").await;
    let env = |shell: &'static str| {
        let data_dir = data_dir.clone();
        async move { Invocation::hubward(["emulator", "env", "--shell", shell, "--data-dir", &data_dir]).run().await }
    };
    let printed = env("sh").await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr_text());
    let block = printed.stdout_text();
    assert!(shown.contains(block.trim_end()), "printed at the start:\n{shown}\nprinted by `env`:\n{block}");
    assert!(block.contains("export PROVISIONING_CONNECTION_STRING='HostName="), "{block}");
    // The ports are free ones.
    assert!(
        block.contains("# Microsoft's SDKs cannot use this emulator: their ports are always 8883 and 443"),
        "{block}"
    );
    assert!(block.contains("export SSL_CERT_FILE='") && block.contains("export NODE_EXTRA_CA_CERTS='"), "{block}");

    for transport in transports() {
        let hubward = hubward_tests::binary::hubward().display();
        let script = format!("{block}\nexec '{hubward}' provision --transport {transport} --messages 10\n");
        let ran = Invocation::of("sh".as_ref()).stdin(script).run().await;
        assert_eq!(ran.code, Some(0), "{transport}: {}", ran.stderr_text());
        assert!(ran.stdout_text().ends_with("10 of 10 messages acknowledged\n"), "{}", ran.stdout_text());
    }

    for (shell, first, comment) in
        [("pwsh", "$env:PROVISIONING_HOST = 'localhost'", "# "), ("cmd", "set \"PROVISIONING_HOST=localhost\"", "rem ")]
    {
        let printed = env(shell).await;
        let text = printed.stdout_text();
        assert_eq!((printed.code, text.lines().next()), (Some(0), Some(first)));
        assert!(text.lines().last().is_some_and(|it| it.starts_with(comment)), "{text}");
        assert_eq!(text.lines().count(), block.lines().count());
    }
    let json = Invocation::hubward(["emulator", "env", "--output", "json", "--data-dir", &data_dir]).run().await;
    let lines = json.lines().expect("lines");
    let sets = lines.iter().filter_map(|it| it["variables"].as_object()).flatten();
    let expected: Vec<(&String, &str)> = sets.map(|(name, it)| (name, it.as_str().expect("a text"))).collect();
    assert_eq!(expected.len(), 9, "{lines:?}");

    // A shell can source a file with variables.
    let file = std::path::Path::new(&data_dir).join("it's.env");
    std::fs::write(&file, env("dotenv").await.stdout_text()).expect("a file");
    let script = format!("set -a\n. \"{}\"\nexec env\n", file.display());
    let sourced = Invocation::of("sh".as_ref()).stdin(script).run().await.stdout_text();
    // The file of GitHub Actions has neither quotes nor comments.
    let github = env("github").await.stdout_text();
    for (name, value) in &expected {
        let line = format!("{name}={value}");
        assert!(
            sourced.lines().any(|it| it == line) && github.lines().any(|it| it == line),
            "{line}\n{sourced}\n{github}"
        );
    }
    assert!(github.lines().all(|it| it.contains('=') && !it.starts_with('#')), "{github}");
    assert!(github.lines().any(|it| it.starts_with("NODE_EXTRA_CA_CERTS=")), "{github}");

    assert!(provision(&variables(&json.lines().expect("lines")[0]), &[]).await.is_ok());

    running.interrupt().await;
    let stopped = Invocation::hubward(["emulator", "env", "--output", "json", "--data-dir", &data_dir]).run().await;
    let last = stopped.last().expect("an error");
    assert_eq!((&last["exitCode"], &last["hint"]), (&json!(1), &json!("start one: hubward emulator")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_the_port_in_use_and_the_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let port = address.port().to_string();
    for (argument, what) in [("--mqtt-port", "MQTT"), ("--https-port", "HTTPS"), ("--admin-port", "admin")] {
        let (_folder, data_dir) = folder();
        let mut arguments = vec!["emulator", "--output", "json", "--data-dir", &data_dir, argument, &port];
        let others = ["--mqtt-port", "--https-port", "--admin-port"].into_iter().filter(|it| *it != argument);
        arguments.extend(others.flat_map(|it| [it, "0"]));
        let last = Invocation::hubward(arguments).run().await.last().expect("an error");
        assert_eq!((&last["exitCode"], &last["stage"]), (&json!(1), &json!("local")), "{last}");
        let message = last["message"].as_str().expect("a message");
        assert!(message.contains(&address.to_string()) && message.contains(what), "{last}");
        assert!(last["hint"].as_str().is_some_and(|it| it.contains(&format!("another {what} port"))), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_with_the_same_seed_keeps_the_state_and_the_certificate_authority() {
    let (folder, data_dir) = folder();
    let seed = folder.path().join("seed.json");
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let keys = json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": key, "secondaryKey": key}});
    let text = json!({
        "enrollments": [
            {"registrationId": "pump-1", "deviceId": "Pump_1", "attestation": keys},
            {"registrationId": "pump-2", "attestation": keys, "provisioningStatus": "disabled"},
        ],
        "enrollmentGroups": [{"enrollmentGroupId": "line-7", "attestation": keys}],
    });
    std::fs::write(&seed, text.to_string()).expect("a file");
    let seed = seed.to_str().expect("a path that is text");
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut running = Running::emulator(&data_dir, ["--seed", seed, "--output", "json"]);
        let ready = running.json().await;
        let device = variables(&running.json().await);
        // The `device` line describes the first enrollment of the seed.
        assert!(device.contains(&("PROVISIONING_REGISTRATION_ID".to_owned(), "pump-1".to_owned())), "{device:?}");
        assert!(device.contains(&("PROVISIONING_SYMMETRIC_KEY".to_owned(), key.to_owned())), "{device:?}");
        assert_eq!(provision(&device, &[]).await.expect("pump-1")["deviceId"], "Pump_1");
        let disabled = provision(&device, &["--registration-id", "pump-2"]).await.expect_err("disabled");
        assert!(disabled.contains("the enrollment is disabled"), "{disabled}");
        let group = folder.path().join("group.key");
        std::fs::write(&group, key).expect("a file");
        let group = group.to_str().expect("a path that is text");
        let in_group = provision(&device, &["--registration-id", "pump-9", "--group-key-file", group]).await;
        assert_eq!(in_group.expect("pump-9")["deviceId"], "pump-9");
        let (ended, ..) = running.interrupt().await;
        assert_eq!(ended.code(), Some(0));
        runs.push(std::fs::read(ready["caFile"].as_str().expect("a path")).expect("the CA file stays"));
    }
    assert_eq!(runs[0], runs[1], "the certificate authority is kept");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn files_with_secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let _ready = running.json().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("the file exists").permissions().mode() & 0o777;
    let folder = std::path::Path::new(&data_dir);
    assert_eq!(mode(folder), 0o700);
    let mut private = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
        if text.contains("PRIVATE KEY") || text.contains("PROVISIONING_SYMMETRIC_KEY") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            private += 1;
        }
    }
    assert_eq!(private, 3, "the keys of the two certificate authorities, and the device's key in `ready.json`");
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_well_known_keys_any_id_can_register() {
    let (folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--dev-keys", "--output", "json"]);
    let _ready = running.json().await;
    let device = variables(&running.json().await);
    assert!(provision(&device, &[]).await.is_ok());
    let group = folder.path().join("group.key");
    std::fs::write(&group, DEV_GROUP_KEY).expect("a file");
    let group = group.to_str().expect("a path that is text");
    for (id, transport) in ["any-1", "Any.Thing_2", "x"].into_iter().zip(transports()) {
        let arguments = ["--registration-id", id, "--group-key-file", group, "--transport", transport];
        assert_eq!(provision(&device, &arguments).await.expect(id)["deviceId"], id);
    }
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_settings_are_refused_before_the_start() {
    let (folder, data_dir) = folder();
    let wrong = folder.path().join("wrong.json");
    std::fs::write(&wrong, "{\"enrollments\": [\n  {\"registrationId\": 7}]}").expect("a file");
    let wrong = wrong.to_str().expect("a path that is text");
    for (arguments, expected) in [
        (["--dev-keys", "--bind", "0.0.0.0"].as_slice(), "only for loopback"),
        (&["--seed", wrong], "line 2"),
        (&["--seed", "/nowhere/seed.json"], "/nowhere/seed.json"),
        (&["--id-scope", "0ne 1"], "id scope"),
        (&["--hub", "a", "--hub", "A"], "hubs"),
        (&["--name", "a b"], "host name"),
    ] {
        let fixed = ["emulator", "--output", "json", "--data-dir", &data_dir, "--mqtt-port", "0", "--https-port", "0"];
        let ran = Invocation::hubward(fixed).args(["--admin-port", "0"]).args(arguments.iter().copied()).run().await;
        let last = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
        assert_eq!((&last["exitCode"], &last["fault"]), (&json!(2), &json!("request")), "{arguments:?}: {last}");
        let text = format!("{}{}", last["message"], last["causes"]);
        assert!(text.contains(expected) && last["hint"].is_string(), "{arguments:?}: {last}");
    }
}

/// Service managers stop a program with SIGTERM.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_emulator_with_success() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let _ready = running.json().await;
    let (ended, ..) = running.signal("-TERM").await;
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn env_ignores_the_ready_file_of_a_killed_emulator() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let lines = running.json_until("device").await;
    let admin = lines[0]["admin"].as_str().and_then(|it| it.strip_prefix("http://")).expect("a URL");
    let env = || Invocation::hubward(["emulator", "env", "--data-dir", &data_dir, "--output", "json"]).run();
    assert_eq!(env().await.code, Some(0), "the emulator runs");
    running.signal("-KILL").await;
    // Bind the port of the killed emulator, but do not listen on it. While this socket is open, no other emulator can
    // use the port, so the address in `ready.json` leads to no emulator.
    let bound = TcpSocket::new_v4().expect("a socket");
    bound.set_reuseaddr(true).expect("an option");
    bound.bind(admin.parse().expect("an address")).expect("the port is free again");
    assert!(std::path::Path::new(&data_dir).join("ready.json").exists(), "a killed emulator cannot delete the file");
    let after = env().await.last().expect("one object");
    assert_eq!((&after["type"], &after["exitCode"]), (&json!("error"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_ignores_a_ready_file_that_points_to_another_emulator() {
    let (_folder, killed) = folder();
    let (_other_folder, other) = folder();
    let mut running = Running::emulator(&other, ["--output", "json"]);
    running.json_until("device").await;
    let reset = |dir: &str| Invocation::hubward(["emulator", "reset", "--yes", "--data-dir", dir]).run();
    // Copy the ready file of the running emulator into the folder `killed`. This folder then looks like the data
    // directory of an emulator that was killed, and whose port another emulator now uses.
    std::fs::create_dir_all(&killed).expect("a folder");
    let ready_file = |dir: &str| std::path::Path::new(dir).join("ready.json");
    std::fs::copy(ready_file(&other), ready_file(&killed)).expect("a copy");
    let refused = reset(&killed).await;
    assert_eq!(refused.code, Some(1), "the directory has no state to reset: {}", refused.stderr_text());
    let enrollments = Invocation::hubward(["emulator", "export", "--data-dir", &other]).run().await.stdout_text();
    assert!(enrollments.contains("dev-1"), "{enrollments}");
    assert_eq!(reset(&other).await.code, Some(0), "the emulator's own ready file is valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_has_an_environment_variable() {
    let help = Invocation::hubward(["emulator", "--help"]).run().await.stdout_text();
    let options = help.split("Options:").nth(1).expect("options").split("Examples:").next().unwrap_or_default();
    let options = options.split("\n\n").filter(|it| it.contains("--"));
    for option in options.filter(|it| !it.contains("--help")) {
        assert!(option.split_whitespace().collect::<String>().contains("[env:HUBWARD_"), "no variable:\n{option}");
    }

    let (folder, data_dir) = folder();
    let seed = folder.path().join("seed.json");
    std::fs::write(
        &seed,
        r#"{"enrollments": [{"registrationId": "pump-1", "attestation": {"type": "symmetricKey"}}]}"#,
    )
    .expect("a file");
    let free = "0".to_owned();
    let variables = [
        ("HUBWARD_DATA_DIR", data_dir.clone()),
        ("HUBWARD_SEED", seed.to_str().expect("a path that is text").to_owned()),
        ("HUBWARD_DEV_KEYS", "yes".to_owned()),
        ("HUBWARD_MQTT_PORT", free.clone()),
        ("HUBWARD_HTTPS_PORT", free.clone()),
        ("HUBWARD_ADMIN_PORT", free),
        ("HUBWARD_STANDARD_PORTS", String::new()),
        ("HUBWARD_HUBS", "one.example,two.example".to_owned()),
        ("HUBWARD_NAMES", "dps.example".to_owned()),
        ("HUBWARD_ID_SCOPE", "0ne00ABCDEF".to_owned()),
        ("HUBWARD_BIND", "127.0.0.1,127.0.0.2".to_owned()),
        ("HUBWARD_ADMIN_ADDRESS", "127.0.0.3".to_owned()),
        ("HUBWARD_ALLOW_HOST", "emulator,cloud.example".to_owned()),
        ("HUBWARD_RETRY_AFTER", "7s".to_owned()),
        ("HUBWARD_QUIET", "true".to_owned()),
        ("HUBWARD_OUTPUT", "json".to_owned()),
        ("HUBWARD_LOG", String::new()),
        ("HUBWARD_IN_MEMORY", String::new()),
        ("HUBWARD_ALLOW_HOST", "emulator,cloud".to_owned()),
    ];
    let mut running = Running::start(Invocation::hubward(["emulator"]).vars(&variables));
    let ready = running.json().await;
    assert_eq!((&ready["hubs"], &ready["idScope"]), (&json!(["one.example", "two.example"]), &json!("0ne00ABCDEF")));
    assert_eq!((ready["devKeys"].as_bool(), ready["mqtt"].as_array().map(Vec::len)), (Some(true), Some(2)));
    assert!(ready["caFile"].as_str().is_some_and(|it| it.starts_with(&data_dir)), "{ready}");
    assert!(ready["admin"].as_str().is_some_and(|it| it.starts_with("http://127.0.0.3:")), "{ready}");
    assert_eq!(running.json().await["variables"]["PROVISIONING_REGISTRATION_ID"], "pump-1");
    // The variables for ports matter only for the command that starts an emulator. The other commands of `hubward
    // emulator`, such as `env`, ignore these variables.
    let printed = Invocation::hubward(["emulator", "env"]).vars(&variables[..1]).vars(&variables[3..6]).run().await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr_text());
    let (_, _, stderr) = running.interrupt().await;
    assert_eq!(stderr, "");

    for (name, value, expected) in [
        ("HUBWARD_MQTT_PORT", "many", "--mqtt-port"),
        ("HUBWARD_DEV_KEYS", "perhaps", "--dev-keys"),
        ("HUBWARD_BIND", "here", "--bind"),
        ("HUBWARD_ADMIN_ADDRESS", "here", "--admin-address"),
    ] {
        let wrong = [(name, value.to_owned()), ("HUBWARD_OUTPUT", "json".to_owned())];
        let last = Invocation::hubward(["emulator"]).vars(&wrong).run().await.last().expect("an error");
        assert!(last["exitCode"] == 2 && last["message"].as_str().is_some_and(|it| it.contains(expected)), "{last}");
    }
}

/// The program that has started the emulator may be killed. The operating system then closes the program's end of the
/// pipe. This ends the emulator.
#[tokio::test(flavor = "multi_thread")]
async fn ends_when_its_standard_input_is_closed() {
    let (_folder, data_dir) = folder();
    let options = ["--exit-on-stdin-close", "--output", "json", "--data-dir", &data_dir];
    let ports = ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"];
    let mut running = Running::start(Invocation::hubward(["emulator"]).args(options).args(ports).stdin(""));
    let ready = running.json().await;
    let admin = ready["admin"].as_str().expect("a URL");
    // The pipe is open, so the emulator answers.
    assert!(get(admin, "/health").await.starts_with("HTTP/1.1 200"));
    // `end` closes the test's end of the pipe, then waits until the emulator has ended.
    let (ended, _, stderr) = running.end().await;
    assert_eq!((ended.code(), stderr.as_str()), (Some(0), ""));
    assert!(!std::path::Path::new(&data_dir).join("ready.json").exists(), "the emulator shut down normally");
}
