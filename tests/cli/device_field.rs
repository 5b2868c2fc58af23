//! `hubward device run` as a device in the field: its cache, its credentials, its moves, and the events that it prints.

use std::path::PathBuf;
use std::time::Duration;

use hubward::{SharedKey, json};
use hubward_emulator::{Emulator, EventKind, EventSource, Fault, Invocation as MethodCall, Point};
use hubward_proto::service::AllocationPolicy;
use hubward_tests::command::Invocation;
use serde_json::Value;
use tempfile::TempDir;

use super::device::{HUB, Lines, TRANSPORTS, assert_refused, device, known, types};
use super::running::Running;

const DEVICE: &str = "pump-1";

/// The hub to which the device moves.
const OTHER_HUB: &str = "127.0.0.1";

/// An emulator with two hubs, an enrollment at the first of them, and a folder for the cache.
struct Field {
    emulator: Emulator,
    primary: SharedKey,
    secondary: SharedKey,
    folder: TempDir,
}

impl Field {
    async fn start() -> Self {
        let emulator = Emulator::builder().hubs([HUB, OTHER_HUB]).start().await.expect("the emulator starts");
        let key = || SharedKey::generate().expect("randomness");
        let folder = tempfile::tempdir().expect("a folder");
        let field = Self { emulator, primary: key(), secondary: key(), folder };
        field.assign(HUB);
        field
    }

    /// Changes the enrollment: its device belongs to this hub.
    fn assign(&self, hub: &str) {
        let enrollment = self.emulator.enrollment(DEVICE).allocation(AllocationPolicy::Static).hubs([hub]);
        let enrollment = enrollment.keys(&self.primary, &self.secondary).payload(json!({ "site": "a" }));
        enrollment.create().expect("a valid enrollment");
    }

    /// The variables of the device.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let enrollment = self.emulator.enrollment(DEVICE).allocation(AllocationPolicy::Static).hubs([HUB]);
        enrollment.keys(&self.primary, &self.secondary).payload(json!({ "site": "a" })).create().expect("valid").vars()
    }

    /// The variables of the device, with this key in place of its primary key.
    fn variables_with_key(&self, key: &SharedKey) -> Vec<(&'static str, String)> {
        let mut variables = self.variables();
        variables.retain(|(name, _)| *name != "PROVISIONING_SYMMETRIC_KEY");
        variables.push(("PROVISIONING_SYMMETRIC_KEY", key.expose_base64().to_string()));
        variables
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("hub.cache")
    }

    /// The arguments of `device run` with the cache, and these.
    fn run(&self, more: &[&'static str]) -> Vec<String> {
        let cache = self.cache().display().to_string();
        ["run", "--cache", &cache].iter().chain(more).map(|it| (*it).to_owned()).collect()
    }

    /// Starts `device run` with the cache, and these arguments.
    fn start_device(&self, transport: &str, variables: &[(&'static str, String)], more: &[&'static str]) -> Lines {
        let arguments = self.run(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Lines::of(Running::start(device(transport, &arguments, variables)))
    }

    /// Number of registrations that DPS has accepted or refused.
    fn registrations(&self) -> usize {
        let events = self.emulator.events().all();
        let of_dps = events.iter().filter(|it| it.source == EventSource::Dps);
        let outcomes = [EventKind::Registered, EventKind::RegistrationFailed, EventKind::Refused];
        of_dps.filter(|it| outcomes.contains(&it.kind)).count()
    }
}

/// Ends the device as Ctrl-C does. Checks its exit code. Returns the rest of stdout, and stderr.
async fn end(lines: Lines, code: i32) -> (String, String) {
    let (ended, rest, stderr) = lines.running.interrupt().await;
    assert_eq!(ended.code(), Some(code), "{rest}{stderr}");
    (rest, stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_uses_the_cache_and_not_dps() {
    for transport in TRANSPORTS {
        let field = Field::start().await;
        let variables = field.variables();
        let mut first = field.start_device(transport, &variables, &[]);
        let provisioning = first.next("provisioning").await;
        for (member, expected) in [
            ("registrationId", json!(DEVICE)),
            ("endpoint", json!(if transport == "mqtt" { "localhost:8883" } else { "localhost:443" })),
            ("transport", json!(transport)),
            ("credential", json!("primary key")),
            ("reason", json!("noAssignment")),
            ("text", json!("the device registers at localhost with the primary key: the device has no hub yet")),
        ] {
            assert_eq!(provisioning[member], expected, "{provisioning}");
        }
        let assigned = first.next("assigned").await;
        for (member, expected) in [
            ("registrationId", json!(DEVICE)),
            ("deviceId", json!(DEVICE)),
            ("assignedHub", json!(HUB)),
            ("movedFrom", Value::Null),
            ("substatus", json!("initialAssignment")),
            ("payload", json!({ "site": "a" })),
        ] {
            assert_eq!(assigned[member], expected, "{assigned}");
        }
        let connected = first.next("connected").await;
        for (member, expected) in [
            ("deviceId", json!(DEVICE)),
            ("moduleId", Value::Null),
            ("hub", json!(HUB)),
            ("transport", json!(transport)),
            ("credential", json!("primary key")),
            ("movedFrom", Value::Null),
        ] {
            assert_eq!(connected[member], expected, "{connected}");
        }
        end(first, 0).await;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(field.cache()).expect("the cache").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "only the user may read the cache");
        }

        assert_eq!(field.registrations(), 1);
        field.emulator.fault_always(Point::DpsConnect, Fault::Cut).expect("a valid fault");
        let mut second = field.start_device(transport, &variables, &[]);
        let used = second.next("cacheUsed").await;
        assert_eq!((&used["hub"], &used["deviceId"]), (&json!(HUB), &json!(DEVICE)), "{used}");
        assert_eq!(used["file"], json!(field.cache()), "{used}");
        second.next("connected").await;
        end(second, 0).await;
        assert_eq!(field.registrations(), 1, "a start with a valid cache needs no DPS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variable_names_the_cache_of_every_device_command() {
    let field = Field::start().await;
    let mut variables = field.variables();
    variables.push(("HUBWARD_CACHE_FILE", field.cache().display().to_string()));
    let first = device("mqtt", &["send", "one"], &variables).run().await;
    let lines = first.lines().unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(types(&lines), ["provisioning", "assigned", "connected", "sending", "sent", "result"]);
    let result = first.last().expect("a result");
    assert_eq!((&result["assignedHub"], &result["payload"]), (&json!(HUB), &json!({ "site": "a" })), "{result}");
    let second = device("mqtt", &["send", "two"], &variables).run().await;
    let lines = second.lines().unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(types(&lines), ["cacheUsed", "connected", "sending", "sent", "result"]);
    let result = second.last().expect("a result");
    assert_eq!((&result["assignedHub"], &result["acknowledged"]), (&Value::Null, &json!(1)), "{result}");
    let twin = device("mqtt", &["twin", "show"], &variables).run().await;
    assert_eq!(types(&twin.lines().expect("lines")), ["cacheUsed", "connected", "twin", "result"]);
    assert_eq!(field.registrations(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_used_does_not_stop_the_device() {
    let field = Field::start().await;
    let variables = field.variables();
    std::fs::write(field.cache(), "{ not a cache").expect("a file");
    let mut lines = field.start_device("mqtt", &variables, &[]);
    let aside = lines.next("cacheSetAside").await;
    assert_eq!(aside["problem"], "damaged", "{aside}");
    let renamed = aside["renamedTo"].as_str().expect("a new name");
    assert_eq!(std::fs::read_to_string(renamed).expect("the old file"), "{ not a cache");
    let text = aside["text"].as_str().expect("a text");
    assert!(text.contains("is damaged") && text.contains("the device starts without it"), "{text}");
    lines.next("connected").await;
    end(lines, 0).await;
    assert!(std::fs::read_to_string(field.cache()).expect("the new cache").contains(HUB));

    let nowhere = field.folder.path().join("no-such-folder").join("hub.cache").display().to_string();
    let ran = device("mqtt", &["run", "--cache", &nowhere, "--for", "10ms"], &variables).run().await;
    let lines = ran.lines().unwrap_or_else(|problem| panic!("{problem}"));
    let unwritten = lines.iter().find(|it| it["type"] == "cacheNotWritten").expect("an event");
    assert_eq!(unwritten["file"], json!(nowhere), "{unwritten}");
    let text = unwritten["text"].as_str().expect("a text");
    assert!(text.ends_with("the device works, but its next start uses the older file, or registers"), "{text}");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_key_is_tried_after_a_refusal() {
    let field = Field::start().await;
    let wrong = SharedKey::generate().expect("randomness");
    let mut variables = field.variables_with_key(&wrong);
    variables.push(("HUBWARD_SECONDARY_KEY", field.secondary.expose_base64().to_string()));
    let mut lines = field.start_device("mqtt", &variables, &[]);
    let failed = lines.next("registrationFailed").await;
    for (member, expected) in [
        ("credential", json!("primary key")),
        ("fault", json!("credential")),
        ("serviceCode", json!(401_002)),
        (
            "then",
            json!({
                "step": "register",
                "credential": "secondary key",
                "afterMs": 0,
                "reason": "nextCredentialAtDps",
                "trouble": null,
            }),
        ),
    ] {
        assert_eq!(failed[member], expected, "{failed}");
    }
    assert!(failed["hint"].as_str().is_some_and(|it| it.contains("check the key")), "{failed}");
    assert_eq!(lines.next("connected").await["credential"], "secondary key");
    let (rest, stderr) = end(lines, 0).await;
    for secret in [&wrong, &field.secondary] {
        let secret = secret.expose_base64();
        assert!(!rest.contains(secret.as_str()) && !stderr.contains(secret.as_str()), "no output contains a key");
    }
    assert!(!stderr.contains("registration with the primary key"), "the log does not repeat the events: {stderr}");

    // The next start begins with the key that worked. The file of the flag takes priority over the variable.
    let file = field.folder.path().join("second.key");
    std::fs::write(&file, field.secondary.expose_base64().as_str()).expect("a file");
    variables.retain(|(name, _)| *name != "HUBWARD_SECONDARY_KEY");
    let file = file.display().to_string();
    let cache = field.cache().display().to_string();
    let arguments = ["send", "x", "--cache", &cache, "--secondary-key-file", &file];
    let ran = device("mqtt", &arguments, &variables).run().await;
    let lines = ran.lines().unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(types(&lines)[..2], ["cacheUsed", "connected"]);
    assert_eq!(lines[1]["credential"], "secondary key");
}

#[tokio::test(flavor = "multi_thread")]
async fn dps_issues_a_certificate_that_the_next_start_uses() {
    for transport in TRANSPORTS {
        let field = Field::start().await;
        let enrollment = field.emulator.enrollment(DEVICE).hubs([HUB]).keys(&field.primary, &field.secondary);
        let variables = enrollment.credential_policy("default").create().expect("an enrollment").vars();
        let file = field.folder.path().join("certificate").display().to_string();
        let cache = field.cache().display().to_string();
        let arguments = ["send", "x", "--cache", &cache, "--issued-certificate", &file];
        for (start, expected) in
            [["provisioning", "assigned", "certificateIssued", "connected"].as_slice(), &["cacheUsed", "connected"]]
                .into_iter()
                .enumerate()
        {
            let ran = device(transport, &arguments, &variables).run().await;
            let lines = ran.lines().unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(types(&lines)[..expected.len()], *expected, "{transport}, start {start}");
            assert_eq!(lines[expected.len() - 1]["credential"], "issued certificate", "{transport}, start {start}");
        }
        assert_eq!(field.registrations(), 1, "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_the_device_with_the_method() {
    for transport in TRANSPORTS {
        let field = Field::start().await;
        let variables = field.variables();
        let more = ["--reprovision-method", "reprovision", "--report", r#"{"firmware": "2.1"}"#];
        let mut lines = field.start_device(transport, &variables, &more);
        lines.next("reported").await;
        field.assign(OTHER_HUB);
        let call = MethodCall::new("reprovision").connect_timeout(Duration::from_secs(60));
        let answer = field.emulator.invoke_method(HUB, DEVICE, call).await.expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(lines.next("reprovisionRequested").await["method"], "reprovision");
        let again = lines.find("a second registration", |it| it["reason"] == "requested").await;
        assert_eq!(again["type"], "provisioning", "{again}");
        let assigned = lines.find("a move", |it| it["type"] == "assigned" && it["movedFrom"] == HUB).await;
        assert_eq!(assigned["assignedHub"], OTHER_HUB, "{assigned}");
        let connected = lines.find("the other hub", |it| it["type"] == "connected" && it["movedFrom"] == HUB).await;
        assert_eq!(connected["hub"], OTHER_HUB, "{connected}");
        // The new hub may not have the properties.
        lines.next("reported").await;
        assert_eq!(field.emulator.twin(OTHER_HUB, DEVICE).expect("a twin").reported.values["firmware"], "2.1");
        end(lines, 0).await;
        assert_eq!(field.registrations(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_device_says_when_it_registers_again() {
    let field = Field::start().await;
    let mut lines = field.start_device("mqtt", &field.variables(), &[]);
    lines.next("connected").await;
    assert!(field.emulator.set_device_enabled(HUB, DEVICE, false), "the hub knows the device");
    let refused = lines.find("a refusal", |it| it["type"] == "hubFailed" && it["fault"] == "credential").await;
    let then = &refused["then"];
    assert_eq!((&then["step"], &then["reason"]), (&json!("register"), &json!("slowSchedule")), "{refused}");
    // Five minutes, with a random part of 25 %, from the registration at the start.
    let after = then["afterMs"].as_u64().expect("a wait");
    assert!((60_000..=375_000).contains(&after), "{refused}");
    assert!(refused["hint"].as_str().is_some_and(|it| it.contains("a hub does not say why")), "{refused}");
    assert!(refused["failures"].as_u64() >= Some(1) && refused["cause"].is_string(), "{refused}");
    // Ctrl-C ends the device also during the wait.
    end(lines, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_keeps_trying_starts_without_dps_and_queues_messages() {
    let field = Field::start().await;
    field.emulator.fault_always(Point::DpsConnect, Fault::Cut).expect("a valid fault");
    let variables = field.variables();
    let more = ["--keep-trying", "--interval", "100ms", "--report", r#"{"firmware": "2.1"}"#];
    let mut lines = field.start_device("mqtt", &variables, &more);
    let failed = lines.next("registrationFailed").await;
    assert_eq!(failed["then"]["reason"], "registerAgain", "{failed}");
    assert_eq!((&failed["fault"], &failed["then"]["trouble"]), (&json!("network"), &json!("transient")), "{failed}");
    lines.next("sending").await;
    field.emulator.clear_faults();
    lines.next("connected").await;
    lines.next("sent").await;
    lines.next("reported").await;
    end(lines, 0).await;

    field.emulator.fault_always(Point::DpsConnect, Fault::Cut).expect("a valid fault");
    std::fs::remove_file(field.cache()).expect("the cache");
    let mut lines = field.start_device("mqtt", &variables, &["--keep-trying"]);
    lines.next("registrationFailed").await;
    let (rest, _) = end(lines, 0).await;
    assert!(rest.lines().last().is_some_and(|it| it.contains(r#""type":"result""#)), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_a_fleet_waits_before_its_first_request() {
    let field = Field::start().await;
    let variables = field.variables();
    // Up to 20,000 s, and a day would be the limit.
    let more = ["--keep-trying", "--fleet", "10000,1,0.5", "--for", "300ms"];
    let arguments = field.run(&more);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = device("mqtt", &arguments, &variables).run().await;
    assert_eq!(ran.last().expect("a result")["exitCode"], 0, "{}", ran.stderr_text());
    assert_eq!(field.registrations(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_cannot_start_ends_with_one_error() {
    let field = Field::start().await;
    let wrong = SharedKey::generate().expect("randomness");
    let ran = device("mqtt", &["run"], &field.variables_with_key(&wrong)).run().await;
    let lines = ran.lines().unwrap_or_else(|problem| panic!("{problem}"));
    assert_eq!(types(&lines), ["provisioning", "error"], "the error says what a last event would say");
    let last = &lines[1];
    let facts = (&last["exitCode"], &last["stage"], &last["endpoint"]);
    assert_eq!(facts, (&json!(5), &json!("dps-register"), &json!("localhost:8883")), "{last}");

    let ran = Invocation::hubward(["device", "run"]).vars(&field.variables_with_key(&wrong)).run().await;
    let expected = "the device registers at localhost with the primary key: the device has no hub yet\n";
    assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(5), expected), "{}", ran.stderr_text());
    assert_eq!(ran.stderr_text().matches("Unauthorized").count(), 1, "{}", ran.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_run_has_a_line_for_each_event() {
    let field = Field::start().await;
    let wrong = SharedKey::generate().expect("randomness");
    let mut variables = field.variables_with_key(&wrong);
    variables.push(("HUBWARD_SECONDARY_KEY", field.secondary.expose_base64().to_string()));
    let cache = field.cache().display().to_string();
    let run = |more: &'static [&'static str]| {
        Invocation::hubward(["device", "run", "--cache", &cache]).args(more.iter().copied()).vars(&variables)
    };
    let first = run(&["--for", "10ms"]).run().await;
    let text = first.stdout_text();
    let expected = [
        "the device registers at localhost with the primary key: the device has no hub yet",
        "the registration with the primary key failed: localhost:8883 refused (register) with status 401, code 401002: \
         Unauthorized; registering with the secondary key now, because DPS may accept another credential",
        "  hint: check the key (a group's key must be derived for the device), the registration id (letter case \
         matters for derived keys) and the id scope; also check that this machine's clock is right",
        "the device registers at localhost with the secondary key: DPS may accept another credential",
        "DPS assigned the device to localhost as pump-1; DPS returned a payload",
        "the hub localhost accepted the device with the secondary key",
    ];
    assert_eq!(text.lines().take(expected.len()).collect::<Vec<_>>(), expected, "{text}");
    let mut second = Running::start(run(&[]));
    let text = second.text_until("accepted").await;
    let expected = format!(
        "the device uses the hub localhost and the device id pump-1 from the cache `{cache}`\n\
         the hub localhost accepted the device with the secondary key\n"
    );
    assert_eq!(text, expected);
    // The command waits for its first login. If the connection ended before the command has noticed the login, the
    // command would wait for the next one. After the login, the command reads the twin.
    second.text_until("  reported, version").await;
    field.emulator.fault_always(Point::HubConnect, Fault::Cut).expect("a valid fault");
    assert!(field.emulator.disconnect_device(HUB, DEVICE));
    let text = second.text_until("(failure 2 in a row)").await;
    // The system may add why the connection ended.
    let begin = "the connection to the hub localhost failed: localhost:8883 closed the connection";
    let lost = text.lines().find(|it| it.starts_with(begin)).unwrap_or_else(|| panic!("{text}"));
    assert!(
        lost.ends_with("; connecting to the same hub again, because such failures are usually temporary"),
        "{text}"
    );
    second.text_until("the next attempt is in ").await;
    field.emulator.clear_faults();
    let text = second.text_until("accepted").await;
    assert!(!text.contains("the connection is "), "the events say it better than the states: {text}");
    let (ended, rest, stderr) = second.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{rest}{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_of_a_device_in_the_field_are_refused() {
    let field = Field::start().await;
    let through_dps = field.variables();
    let known = known(&field.emulator, "dev-2");
    for (arguments, variables, expected) in [
        (["run", "--fleet", "10,1"].as_slice(), &through_dps, "--keep-trying"),
        (&["run", "--keep-trying", "--fleet", "10"], &through_dps, "DEVICES,RATE,LOAD"),
        (&["run", "--keep-trying", "--fleet", "0,1"], &through_dps, "DEVICES,RATE,LOAD"),
        (&["run", "--keep-trying", "--fleet", "10,0"], &through_dps, "DEVICES,RATE,LOAD"),
        (&["run", "--keep-trying", "--fleet", "10,1,1.5"], &through_dps, "LOAD is above 0"),
        (&["run", "--reprovision-method", "again", "--method", "again=200"], &through_dps, "the same method"),
        (&["run", "--secondary-key-file", "/nowhere/key"], &through_dps, "/nowhere/key"),
        (&["run", "--secondary-key-file", "-", "--symmetric-key-stdin"], &through_dps, "two secrets"),
        (&["run", "--cache", "f", "--connection-string-file", "g"], &known, "--cache"),
        (&["run", "--issued-certificate", "f", "--connection-string-file", "g"], &known, "--issued-certificate"),
        (&["run", "--keep-trying"], &known, "--keep-trying is only for devices that find their hub through DPS"),
        (&["run", "--reprovision-method", "again"], &known, "--reprovision-method is only for devices"),
        (&["send", "x", "--cache", "f"], &known, "not set: PROVISIONING_HOST"),
    ] {
        assert_refused(arguments, variables, 2, expected).await;
    }
    let mut variables = field.variables();
    variables.push(("HUBWARD_SECONDARY_KEY", "hush".to_owned()));
    assert_refused(&["run"], &variables, 2, "HUBWARD_SECONDARY_KEY").await;
    assert_eq!(field.registrations(), 0);
}
