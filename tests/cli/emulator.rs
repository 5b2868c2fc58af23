//! `hubward emulator`: ready lines, lines to paste, seeds, well-known keys, taken ports.

use std::process::Command;

use hubward_emulator::DEV_GROUP_KEY;
use hubward_tests::command::Invocation;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::running::{Running, variables};
use super::transports;

pub(super) fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data").to_str().expect("a path that is text").to_owned();
    (folder, path)
}

pub(super) async fn get(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin.trim_start_matches("http://")).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

async fn provisions(variables: &[(String, String)], more: &[&str]) -> Result<Value, String> {
    let command = Invocation::hubward(["provision", "--output", "json"]).args(more.iter().copied());
    let last = command.vars(variables).run().await.last()?;
    if last["type"] == "result" { Ok(last) } else { Err(last.to_string()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_where_it_is_and_what_a_device_needs() {
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
        let result = provisions(&device, &["--transport", transport, "--messages", "10"]).await;
        assert_eq!(result.expect(transport)["acknowledged"], 10);
    }
    let (ended, rest, stderr) = running.interrupt().await;
    assert_eq!((ended.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_block_is_pasted_into_a_shell_and_works() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, []);
    let mut shown = String::new();
    while !shown.contains("# then: hubward provision") {
        shown.push_str(&running.line().await.expect("there is more"));
        shown.push('\n');
    }
    let env = |shell: &'static str| {
        let data_dir = data_dir.clone();
        async move { Invocation::hubward(["emulator", "env", "--shell", shell, "--data-dir", &data_dir]).run().await }
    };
    let printed = env("sh").await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr_text());
    let block = printed.stdout_text();
    assert!(shown.contains(block.trim_end()), "printed at the start:\n{shown}\nand again:\n{block}");
    assert!(block.contains("export PROVISIONING_CONNECTION_STRING='HostName="), "{block}");
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
    assert!(provisions(&variables(&json.lines().expect("lines")[0]), &[]).await.is_ok());

    running.interrupt().await;
    let gone = Invocation::hubward(["emulator", "env", "--output", "json", "--data-dir", &data_dir]).run().await;
    let last = gone.last().expect("an error");
    assert_eq!((&last["exitCode"], &last["hint"]), (&json!(1), &json!("start one: hubward emulator")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_what_to_do() {
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
async fn a_seed_is_applied_again_without_harm_and_the_authority_stays() {
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
        // The first enrollment of the seed is the device to try.
        assert!(device.contains(&("PROVISIONING_REGISTRATION_ID".to_owned(), "pump-1".to_owned())), "{device:?}");
        assert!(device.contains(&("PROVISIONING_SYMMETRIC_KEY".to_owned(), key.to_owned())), "{device:?}");
        assert_eq!(provisions(&device, &[]).await.expect("pump-1")["deviceId"], "Pump_1");
        let disabled = provisions(&device, &["--registration-id", "pump-2"]).await.expect_err("disabled");
        assert!(disabled.contains("the enrollment is disabled"), "{disabled}");
        let group = folder.path().join("group.key");
        std::fs::write(&group, key).expect("a file");
        let group = group.to_str().expect("a path that is text");
        let of_group = provisions(&device, &["--registration-id", "pump-9", "--group-key-file", group]).await;
        assert_eq!(of_group.expect("pump-9")["deviceId"], "pump-9");
        let (ended, ..) = running.interrupt().await;
        assert_eq!(ended.code(), Some(0));
        runs.push(std::fs::read(ready["caFile"].as_str().expect("a path")).expect("the CA file stays"));
    }
    assert_eq!(runs[0], runs[1], "the certificate authority is kept");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_in_its_folder_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let _ready = running.json().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
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
    assert_eq!(private, 2, "the authority's key, and the device's in the note for `env`");
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn well_known_keys_let_any_id_in() {
    let (folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--dev-keys", "--output", "json"]);
    let _ready = running.json().await;
    let device = variables(&running.json().await);
    assert!(provisions(&device, &[]).await.is_ok());
    let group = folder.path().join("group.key");
    std::fs::write(&group, DEV_GROUP_KEY).expect("a file");
    let group = group.to_str().expect("a path that is text");
    for (id, transport) in ["any-1", "Any.Thing_2", "x"].into_iter().zip(transports()) {
        let arguments = ["--registration-id", id, "--group-key-file", group, "--transport", transport];
        assert_eq!(provisions(&device, &arguments).await.expect(id)["deviceId"], id);
    }
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_before_it_starts() {
    let (folder, data_dir) = folder();
    let wrong = folder.path().join("wrong.json");
    std::fs::write(&wrong, "{\"enrollments\": [\n  {\"registrationId\": 7}]}").expect("a file");
    let wrong = wrong.to_str().expect("a path that is text");
    for (arguments, says) in [
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
        assert!(text.contains(says) && last["hint"].is_string(), "{arguments:?}: {last}");
    }
}

/// Ends like Ctrl-C, for those who end services.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_ends_it_well() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let _ready = running.json().await;
    let id = running.id();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("there is a kill").success());
    let (ended, ..) = running.end().await;
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_note_of_a_killed_emulator_is_not_believed() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let lines = running.json_until("device").await;
    let admin = lines[0]["admin"].as_str().and_then(|it| it.strip_prefix("http://")).expect("a URL");
    let asked = || Invocation::hubward(["emulator", "env", "--data-dir", &data_dir, "--output", "json"]).run();
    assert_eq!(asked().await.code, Some(0), "it runs");
    let killed = Command::new("kill").args(["-KILL", &running.id()]).status().expect("there is a kill");
    assert!(killed.success());
    running.end().await;
    // Its port is taken, so that no other emulator gets it, but nobody listens there.
    let dead = TcpSocket::new_v4().expect("a socket");
    dead.set_reuseaddr(true).expect("an option");
    dead.bind(admin.parse().expect("an address")).expect("it is free again");
    assert!(std::path::Path::new(&data_dir).join("ready.json").exists(), "it had no time to tidy up");
    let after = asked().await.last().expect("one object");
    assert_eq!((&after["type"], &after["exitCode"]), (&json!("error"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_that_leads_to_another_emulator_is_not_believed_by_what_changes_state() {
    let (_folder, killed) = folder();
    let (_other_folder, other) = folder();
    let mut running = Running::emulator(&other, ["--output", "json"]);
    running.json_until("device").await;
    let reset = |dir: &str| Invocation::hubward(["emulator", "reset", "--yes", "--data-dir", dir]).run();
    // One that ran here was killed, and the other one has its port now.
    std::fs::create_dir_all(&killed).expect("a folder");
    let note = |dir: &str| std::path::Path::new(dir).join("ready.json");
    std::fs::copy(note(&other), note(&killed)).expect("a note");
    let refused = reset(&killed).await;
    assert_eq!(refused.code, Some(1), "there is no state: {}", refused.stderr_text());
    let enrollments = Invocation::hubward(["emulator", "export", "--data-dir", &other]).run().await.stdout_text();
    assert!(enrollments.contains("dev-1"), "{enrollments}");
    assert_eq!(reset(&other).await.code, Some(0), "its own note is believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_has_a_variable_as_its_twin() {
    let help = Invocation::hubward(["emulator", "--help"]).run().await.stdout_text();
    let options = help.split("Options:").nth(1).expect("options").split("Examples:").next().unwrap_or_default();
    let options = options.split("\n\n").filter(|it| it.contains("--"));
    for option in options.filter(|it| !it.contains("--help")) {
        assert!(option.split_whitespace().collect::<String>().contains("[env:HUBWARD_"), "no twin:\n{option}");
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
    // The variables are the start's: the other commands of the emulator are not confused by them.
    let printed = Invocation::hubward(["emulator", "env"]).vars(&variables[..1]).vars(&variables[3..6]).run().await;
    assert_eq!(printed.code, Some(0), "{}", printed.stderr_text());
    running.interrupt().await;

    for (name, value, says) in [
        ("HUBWARD_MQTT_PORT", "many", "--mqtt-port"),
        ("HUBWARD_DEV_KEYS", "perhaps", "--dev-keys"),
        ("HUBWARD_BIND", "here", "--bind"),
        ("HUBWARD_ADMIN_ADDRESS", "here", "--admin-address"),
    ] {
        let wrong = [(name, value.to_owned()), ("HUBWARD_OUTPUT", "json".to_owned())];
        let last = Invocation::hubward(["emulator"]).vars(&wrong).run().await.last().expect("an error");
        assert!(last["exitCode"] == 2 && last["message"].as_str().is_some_and(|it| it.contains(says)), "{last}");
    }
}
