//! `hubward dps …`: the commands of a DPS operator, against the emulator.

use hubward_emulator::Emulator;
use hubward_sas::SharedKey;
use hubward_tests::command::Invocation;
use serde_json::{Value, json};

use super::http::get;
use super::operator::Operator;
use super::running::{Running, line_variables};
use super::{cloud, path_with_hubward};

/// An operator of a DPS with one enrollment. `variables` contains the connection string of the DPS.
async fn operator() -> Operator<Emulator> {
    let (emulator, enrolled) = cloud().await;
    let device =
        enrolled.vars().into_iter().filter(|(name, _)| name.starts_with("HUBWARD_") || *name == "PROVISIONING_IDSCOPE");
    let mut variables: Vec<(String, String)> = device.map(|(name, value)| (name.to_owned(), value)).collect();
    variables.push(("PROVISIONING_CONNECTION_STRING".to_owned(), emulator.dps_connection_string()));
    Operator { group: "dps", cloud: emulator, variables }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_is_created_shown_updated_and_deleted() {
    let operator = operator().await;
    let created = operator
        .json(&[
            "enrollment",
            "create",
            "--enrollment-id",
            "pump-1",
            "--device-id",
            "Pump_1",
            "--attestation-type",
            "symmetricKey",
            "--initial-twin-tags",
            r#"{"site":"a"}"#,
            "--initial-twin-properties",
            r#"{"interval":30}"#,
            "--reprovision-policy",
            "reprovisionandresetdata",
            "--allocation-policy",
            "static",
            "--credential-policy",
            "default",
            "--iot-hubs",
            "localhost",
        ])
        .await;
    assert_eq!((&created["registrationId"], &created["deviceId"]), (&json!("pump-1"), &json!("Pump_1")));
    assert_eq!(created["reprovisionPolicy"], json!({"updateHubAssignment": true, "migrateDeviceData": false}));
    assert_eq!(created["initialTwin"], json!({"tags": {"site": "a"}, "properties": {"desired": {"interval": 30}}}));
    assert_eq!((&created["allocationPolicy"], &created["iotHubs"]), (&json!("static"), &json!(["localhost"])));
    assert_eq!(created["credentialPolicyName"], "default");
    let key = created["attestation"]["symmetricKey"]["primaryKey"].as_str().expect("a generated key").to_owned();

    // `show` prints keys only with --show-keys.
    let shown = operator.json(&["enrollment", "show", "--eid", "pump-1"]).await;
    assert_eq!(shown["attestation"], json!({"type": "symmetricKey"}));
    let shown = operator.json(&["enrollment", "show", "--eid", "pump-1", "--show-keys"]).await;
    assert_eq!((&shown["attestation"]["symmetricKey"]["primaryKey"], &shown["etag"]), (&json!(key), &created["etag"]));

    // `update` keeps each field that the command line does not change, for example the keys.
    let changed =
        operator.json(&["enrollment", "update", "--eid", "pump-1", "--provisioning-status", "disabled"]).await;
    assert_eq!((&changed["provisioningStatus"], &changed["deviceId"]), (&json!("disabled"), &json!("Pump_1")));
    assert_eq!((&changed["initialTwin"], &changed["iotHubs"]), (&created["initialTwin"], &created["iotHubs"]));
    assert_eq!(changed["credentialPolicyName"], "default");
    let shown = operator.json(&["enrollment", "show", "--eid", "pump-1", "--show-keys"]).await;
    assert_eq!(shown["attestation"]["symmetricKey"]["primaryKey"], json!(key));

    // `list` accepts options of `az` that hubward does not need. For all these options together, it prints one warning.
    let list = ["enrollment", "list", "-g", "group", "--auth-type", "login", "--subscription", "s", "--output", "tsv"];
    let ran = operator.run(&list).await;
    assert_eq!((ran.code, ran.warnings().lines().count()), (Some(0), 1), "{}", ran.stderr_text());
    assert!(ran.stderr_text().contains("are ignored"), "{}", ran.stderr_text());
    let quiet = operator.run(&[&list[..], &["--only-show-errors"]].concat()).await;
    assert_eq!((quiet.code, quiet.warnings().as_str()), (Some(0), ""));
    for option in ["--yes", "-y", "--debug", "--verbose"] {
        let ran = operator.run(&[&list[..], &[option]].concat()).await;
        assert!(ran.code == Some(0) && ran.stderr_text().contains("are ignored"), "{option}: {}", ran.stderr_text());
    }

    let listed = operator.json(&["enrollment", "list"]).await;
    let ids: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(|it| it["registrationId"].as_str()).collect();
    assert_eq!(ids, ["dev-1", "pump-1"]);
    assert_eq!(operator.json(&["enrollment", "list", "--top", "1"]).await.as_array().map(Vec::len), Some(1));

    assert_eq!(operator.text(&["enrollment", "delete", "--eid", "pump-1"]).await, "deleted the enrollment pump-1\n");
    assert_eq!(operator.text(&["enrollment", "delete", "--eid", "dev-1", "-o", "json"]).await, "");
    assert_eq!(operator.text(&["enrollment", "list"]).await, "none\n");
    assert_eq!(operator.text(&["enrollment", "list", "-o", "tsv"]).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_create_prints_work_in_a_shell() {
    let operator = operator().await;
    // The enrollment group below contains a device with this registration ID.
    operator.text(&["enrollment", "delete", "--eid", "dev-1"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_hubward(folder.path());
    for arguments in [
        &["enrollment", "create", "--enrollment-id", "it's 1"][..],
        &["enrollment", "create", "--enrollment-id", "pump-1"],
        &["enrollment", "create", "--enrollment-id", "pump-2", "--show-keys"],
        &["enrollment-group", "create", "--enrollment-id", "line-7"],
    ] {
        let ran = operator.run(arguments).await;
        let text = ran.stdout_text();
        let Some((described, lines)) = text.split_once("\nFor a device") else {
            // The service refuses the ID with the space.
            assert_eq!((ran.code, arguments[3]), (Some(6), "it's 1"), "{text}{}", ran.stderr_text());
            continue;
        };
        let shows = arguments.contains(&"--show-keys");
        assert_eq!(described.contains("(hidden, see --show-keys)"), !shows, "{described}");
        let lines: Vec<&str> = lines.lines().skip(1).collect();
        assert_eq!(lines.iter().filter(|it| it.starts_with("export PROVISIONING_")).count(), 4, "{text}");
        let mut variables = operator.variables.clone();
        variables.push(("PATH".to_owned(), path.clone()));
        let script = format!("{}\nexec hubward provision --messages 2\n", lines.join("\n"));
        let ran = Invocation::of("sh".as_ref()).vars(&variables).stdin(script).run().await;
        assert_eq!(ran.code, Some(0), "{text}\n{}", ran.stderr_text());
        assert!(ran.stdout_text().ends_with("2 of 2 messages acknowledged\n"), "{}", ran.stdout_text());
    }
    assert!(operator.cloud.device("localhost", "pump-1").is_some());
    assert!(operator.cloud.device("localhost", "dev-1").is_some(), "the device of the enrollment group");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_create_prints_need_no_other_variables() {
    let operator = operator().await;
    operator.text(&["enrollment", "delete", "--eid", "dev-1"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_hubward(folder.path());
    let file = folder.path().join("the operator's login");
    std::fs::write(&file, operator.cloud.dps_connection_string()).expect("a file");
    let admin = operator.cloud.ready().admin;
    let (by_flag, by_file) = (format!("--emulator={admin}"), file.to_str().expect("text").to_owned());
    let login = operator.cloud.dps_connection_string();
    let variables_named = |names: &[&str]| -> Vec<(String, String)> {
        operator.variables.iter().filter(|it| names.contains(&it.0.as_str())).cloned().collect()
    };
    let network = variables_named(&["HUBWARD_CA_FILE", "HUBWARD_CONNECT_TO", "PROVISIONING_IDSCOPE"]);
    let secret = variables_named(&["PROVISIONING_CONNECTION_STRING"]);
    let admin = vec![("HUBWARD_EMULATOR_ADMIN".to_owned(), admin.clone())];
    let nothing = vec![];
    // Each row: arguments of `create`, environment variables of `create`, and the environment variables that a user
    // must set before the printed lines.
    for (at, (arguments, environment, required)) in [
        (&[by_flag.as_str(), "-n", "localhost"][..], &nothing, &nothing),
        (&[], &admin, &nothing),
        (&["--login-file", &by_file], &network, &nothing),
        (&["--login", &login], &network, &secret),
    ]
    .into_iter()
    .enumerate()
    {
        for kind in ["enrollment", "enrollment-group"] {
            let id = format!("{kind}-{at}");
            let create = ["dps", kind, "create", "--enrollment-id", &id];
            let ran = Invocation::hubward(create).args(arguments.iter().copied()).vars(environment).run().await;
            let text = ran.stdout_text();
            let (_, lines) = text.split_once("\nFor a device").unwrap_or_else(|| panic!("{text}{}", ran.stderr_text()));
            assert_eq!(
                lines.contains("# with the login in PROVISIONING_CONNECTION_STRING:"),
                !required.is_empty(),
                "{text}"
            );
            assert!(!text.contains(login.split("SharedAccessKey=").nth(1).expect("a key")), "{text}");
            let lines: Vec<&str> = lines.lines().skip(1).collect();
            // The printed lines run a command of hubward and use its output as the key. This must also work in a shell
            // in which HUBWARD_OUTPUT selects JSON.
            let mut variables =
                vec![("PATH".to_owned(), path.clone()), ("HUBWARD_OUTPUT".to_owned(), "json".to_owned())];
            variables.extend(required.iter().cloned());
            let script = format!("cd /\n{}\nexec hubward provision --messages 2\n", lines.join("\n"));
            let ran = Invocation::of("sh".as_ref()).vars(&variables).stdin(script).run().await;
            let result = ran.last().unwrap_or_else(|problem| panic!("{problem}\n{text}"));
            assert_eq!(result["acknowledged"], 2, "{result}\n{text}");
            // Delete the enrollment, because later rows use the same registration ID.
            operator.text(&[kind, "delete", "--eid", &id]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn create_and_update_use_the_keys_of_the_given_files() {
    let operator = operator().await;
    let folder = tempfile::tempdir().expect("a folder");
    let keys: Vec<SharedKey> = (0..3).map(|_| SharedKey::generate().expect("a key")).collect();
    let files: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let file = folder.path().join(format!("{at}.key"));
            std::fs::write(&file, key.expose_base64().as_bytes()).expect("a file");
            file.to_str().expect("a path that is text").to_owned()
        })
        .collect();
    let base64: Vec<String> = keys.iter().map(|it| it.expose_base64().to_string()).collect();
    let create = [
        "enrollment-group",
        "create",
        "--eid",
        "line-7",
        "--primary-key-file",
        &files[0],
        "--secondary-key-file",
        &files[1],
    ];
    let both = |it: &Value| {
        (
            it["attestation"]["symmetricKey"]["primaryKey"].clone(),
            it["attestation"]["symmetricKey"]["secondaryKey"].clone(),
        )
    };
    assert_eq!(both(&operator.json(&create).await), (json!(base64[0]), json!(base64[1])));
    let update = ["enrollment-group", "update", "--eid", "line-7", "--secondary-key-file", &files[2]];
    assert_eq!(both(&operator.json(&update).await), (json!(base64[0]), json!(base64[2])));

    // `compute-device-key` derives the device's key from the key of the group. It reads the group's key from the
    // service or from a file.
    let compute = ["enrollment-group", "compute-device-key", "--rid", "dev-9"];
    for (arguments, group) in [
        (&["--enrollment-id", "line-7"][..], &keys[0]),
        (&["--enrollment-id", "line-7", "--secondary"], &keys[2]),
        (&["--key-file", &files[1]], &keys[1]),
    ] {
        let arguments = [&compute[..], arguments].concat();
        let derived = group.derive("dev-9").expose_base64().to_string();
        assert_eq!(operator.text(&arguments).await, format!("{derived}\n"));
        assert_eq!(operator.json(&arguments).await, json!({ "symmetricKey": derived }));
    }
    // `compute-device-key` also accepts the key on the command line. It prints a warning, which does not contain the
    // key.
    let ran = operator.run(&[&compute[..], &["--key", &base64[1]]].concat()).await;
    assert_eq!(ran.stdout_text(), format!("{}\n", keys[1].derive("dev-9").expose_base64().as_str()));
    assert!(
        ran.stderr_text().contains("prefer --key-file") && !ran.stderr_text().contains(&base64[1]),
        "{}",
        ran.stderr_text()
    );
    let nothing = operator.error(&compute).await;
    assert_eq!(nothing["message"], "there is no group key to derive from");
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_records_are_shown_and_deleted() {
    let operator = operator().await;
    operator.json(&["enrollment-group", "create", "--eid", "line-7"]).await;
    let missing = operator.error(&["enrollment", "registration", "show", "--eid", "dev-1"]).await;
    assert_eq!((&missing["exitCode"], &missing["fault"]), (&json!(6), &json!("request")), "{missing}");
    for id in ["dev-1", "line-dev-1", "line-dev-2"] {
        let key = if id == "dev-1" {
            let shown = operator.json(&["enrollment", "show", "--eid", id, "--show-keys"]).await;
            shown["attestation"]["symmetricKey"]["primaryKey"].as_str().expect("a key").to_owned()
        } else {
            operator.text(&["enrollment-group", "compute-device-key", "--eid", "line-7", "--rid", id]).await
        };
        let variables = [
            ("PROVISIONING_HOST", "localhost".to_owned()),
            ("PROVISIONING_REGISTRATION_ID", id.to_owned()),
            ("PROVISIONING_SYMMETRIC_KEY", key.trim().to_owned()),
        ];
        let ran = Invocation::hubward(["provision"]).vars(&operator.variables).vars(&variables).run().await;
        assert_eq!(ran.code, Some(0), "{id}: {}", ran.stderr_text());
    }
    let record = operator.json(&["enrollment", "registration", "show", "--eid", "dev-1"]).await;
    assert_eq!((&record["status"], &record["assignedHub"]), (&json!("assigned"), &json!("localhost")));
    let rows = operator.text(&["enrollment-group", "registration", "list", "--eid", "line-7", "-o", "tsv"]).await;
    let cells: Vec<Vec<&str>> = rows.lines().map(|it| it.split('\t').take(4).collect()).collect();
    let row = |id| vec![id, "assigned", "localhost", id];
    assert_eq!(cells, [row("line-dev-1"), row("line-dev-2")]);
    let table =
        operator.text(&["enrollment-group", "registration", "show", "--rid", "line-dev-1", "-o", "table"]).await;
    let first: Vec<&str> = table.lines().next().expect("titles").split_whitespace().collect();
    assert_eq!(&first[..3], ["RegistrationId", "Status", "AssignedHub"]);
    operator.text(&["enrollment-group", "registration", "delete", "--rid", "line-dev-1"]).await;
    operator.text(&["enrollment", "registration", "delete", "--eid", "dev-1"]).await;
    let left = operator.json(&["enrollment-group", "registration", "list", "--eid", "line-7"]).await;
    assert_eq!(left.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_service_have_a_status_and_a_hint() {
    let operator = operator().await;
    let etag =
        operator.json(&["enrollment", "show", "--eid", "dev-1"]).await["etag"].as_str().expect("an etag").to_owned();
    for (arguments, status) in [
        (&["enrollment", "show", "--eid", "nobody"][..], 404),
        (&["enrollment", "create", "--eid", "dev-1"], 409),
        (&["enrollment", "update", "--eid", "dev-1", "--ps", "disabled", "--etag", "\"other\""], 412),
        (&["enrollment", "delete", "--eid", "dev-1", "--etag", "other"], 412),
        (&["enrollment", "update", "--eid", "nobody", "--ps", "disabled"], 404),
        (&["enrollment-group", "show", "--eid", "nobody"], 404),
        (&["enrollment", "create", "--eid", "d2", "--iot-hubs", "elsewhere.example"], 400),
    ] {
        let error = operator.error(arguments).await;
        assert_eq!((&error["exitCode"], &error["stage"]), (&json!(6), &json!("service-request")), "{error}");
        assert!(error["message"].as_str().is_some_and(|it| it.contains(&format!("status {status}"))), "{error}");
        assert!(error["hint"].is_string() && error["endpoint"] == "localhost:443", "{error}");
    }
    let edge = operator.error(&["enrollment", "create", "--eid", "e", "--edge-enabled"]).await;
    assert_eq!((&edge["exitCode"], &edge["fault"]), (&json!(11), &json!("unsupported")), "{edge}");
    // The ETag as `show` prints it, with its quotes.
    operator.json(&["enrollment", "update", "--eid", "dev-1", "--ps", "disabled", "--etag", &etag]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_are_refused_before_any_request() {
    let operator = operator().await;
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.key");
    std::fs::write(&bad, "s!cr!t").expect("a file");
    let bad = bad.to_str().expect("a path that is text");
    for (arguments, code, expected) in [
        (&["enrollment", "create"][..], 2, "--enrollment-id"),
        (
            &["enrollment", "create", "--eid", "x", "--at", "tpm", "--endorsement-key", "k"],
            11,
            "enrollments with a TPM",
        ),
        (&["enrollment", "update", "--eid", "dev-1", "--ek", "k"], 11, "az iot dps enrollment"),
        (&["enrollment", "create", "--eid", "x", "--at", "x509", "--cp", "/nowhere"], 2, "--certificate-path"),
        (&["enrollment", "list", "--query", "[].deviceId["], 2, "at its end"),
        (
            &["enrollment", "create", "--eid", "x", "--primary-key-file", bad, "--secondary-key-file", bad],
            2,
            "--primary-key",
        ),
        (&["enrollment", "create", "--eid", "x", "--primary-key-file", "/nowhere"], 2, "/nowhere"),
        (&["enrollment", "create", "--eid", "x", "--tags", "[1]"], 2, "--initial-twin-tags"),
        (&["enrollment", "create", "--eid", "x", "--props", "{"], 2, "--initial-twin-properties"),
        (&["enrollment", "create", "--eid", "x", "--tags", "{'v':'1'}"], 2, r#"--initial-twin-tags '{\"v\":\"1\"}'"#),
        (&["enrollment", "create", "--eid", "x", "--reprovision-policy", "sometimes"], 2, "sometimes"),
        (&["enrollment", "create", "--eid", "x", "--webhook-url", "https://h"], 2, "--api-version"),
        (&["enrollment", "update", "--eid", "dev-1"], 2, "no change is given"),
        (&["enrollment", "list", "--top", "0"], 2, "--top"),
        (&["enrollment-group", "compute-device-key", "--rid", "a b", "--key-file", bad], 2, "--registration-id"),
        (&["enrollment-group", "compute-device-key", "--rid", "a", "--key-file", bad], 2, "the group key"),
    ] {
        let error = operator.error(arguments).await;
        assert_eq!(error["exitCode"], json!(code), "{arguments:?}: {error}");
        assert!(
            error.to_string().contains(expected) && !error.to_string().contains("s!cr!t"),
            "{arguments:?}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_read_from_a_file_stdin_or_an_argument_and_errors_name_what_is_missing() {
    let operator = operator().await;
    let login = operator.cloud.dps_connection_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_str().expect("a path that is text").to_owned()
    };
    let good = file("login", &login);
    let network: Vec<(String, String)> =
        operator.variables.iter().filter(|it| it.0.starts_with("HUBWARD_")).cloned().collect();
    let list = ["dps", "enrollment", "list", "--output", "json"];
    let run = |arguments: &[&str], stdin: &str| {
        Invocation::hubward(list).args(arguments.iter().copied()).vars(&network).stdin(stdin).run()
    };
    for (arguments, stdin) in [
        (&["--login-file", &good][..], ""),
        (&["--login-file", "-"], login.as_str()),
        (&["--login", &login], ""),
        (&["-l", &login, "-n", "localhost"], ""),
    ] {
        let ran = run(arguments, stdin).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stdout_text());
        let key = login.split("SharedAccessKey=").nth(1).expect("a key");
        assert!(!ran.stderr_text().contains(key), "{}", ran.stderr_text());
    }

    let other_key = format!(
        "{}{}",
        login.split("SharedAccessKey=").next().unwrap_or_default(),
        "SharedAccessKey=AAECAwQFBgcICQoLDA0ODw=="
    );
    let wrong = file("wrong", &other_key);
    let no_key = file("no-key", "HostName=localhost;SharedAccessKeyName=p");
    let device = file("device", "HostName=localhost;DeviceId=d;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==");
    let token = file("token", "eyJ0.e30.sig");
    for (arguments, code, expected) in [
        (&[][..], 2, "PROVISIONING_CONNECTION_STRING"),
        (&["--login-file", "/nowhere"], 2, "/nowhere"),
        (&["--login-file", &no_key], 2, "SharedAccessKey"),
        (&["--login-file", &device], 2, "device"),
        (&["--login-file", &good, "--host", "contoso"], 2, "contoso.azure-devices-provisioning.net"),
        (&["--login-file", &wrong], 5, "401"),
        (&["--bearer-token-file", &token], 2, "--host"),
        // The emulator refuses Microsoft Entra tokens.
        (&["--bearer-token-file", &token, "--host", "localhost"], 5, "401"),
        (&["--login-file", &good, "--bearer-token-file", &token], 2, "cannot be used with"),
        (&["--login-file", &good, "--connect-to", "localhost:443:127.0.0.1:1"], 3, "could not connect"),
        (&["--login-file", &good, "--ca-file", "/nowhere"], 2, "/nowhere"),
    ] {
        let ran = run(arguments, "").await;
        let error = ran.last().unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"));
        assert_eq!(error["exitCode"], json!(code), "{arguments:?}: {error}");
        assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
        for secret in ["AAECAwQFBgcICQoLDA0ODw", "eyJ0"] {
            assert!(!error.to_string().contains(secret) && !ran.stderr_text().contains(secret), "{error}");
        }
    }
    let no_login = run(&[], "").await.last().expect("an error");
    let hint = no_login["hint"].as_str().expect("a hint");
    for way in ["PROVISIONING_CONNECTION_STRING", "--login-file", "--bearer-token-file", "--host", "emulator"] {
        assert!(hint.contains(way), "{way}: {hint}");
    }
    // The hint does not suggest `--login`, because other users of the machine can read the command line.
    assert!(!hint.contains("--login "), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_can_come_from_a_pipe() {
    let operator = operator().await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = format!("eyJ{}.sig", "a".repeat(6000));
    std::fs::write(folder.path().join("token"), &token).expect("a file");
    let command = format!("{} dps enrollment list -n localhost -o json", hubward_tests::binary::hubward().display());
    let folder = folder.path().display();
    for script in [
        format!("cat {folder}/token | {command} --bearer-token-file -"),
        format!(
            "mkfifo {folder}/pipe; cat {folder}/token > {folder}/pipe & {command} --bearer-token-file {folder}/pipe"
        ),
    ] {
        let ran = Invocation::of("sh".as_ref()).args(["-c", &script]).vars(&operator.variables).run().await;
        // The emulator receives the request. It refuses the token with 401, because it does not support Entra tokens.
        let error = ran.last().unwrap_or_else(|problem| panic!("{script}: {problem}"));
        assert!(error["exitCode"] == 5 && error["message"].as_str().is_some_and(|it| it.contains("401")), "{error}");
        assert!(error["hint"].as_str().is_some_and(|it| it.contains("expired")), "{error}");
    }
    let too_large = format!("head -c 70000 /dev/zero | tr '\\0' a | {command} --bearer-token-file -");
    let error = Invocation::of("sh".as_ref()).args(["-c", &too_large]).vars(&operator.variables).run().await;
    let error = error.last().expect("an error");
    assert!(
        error["exitCode"] == 2 && error["message"].as_str().is_some_and(|it| it.contains("more than 65536 bytes")),
        "{error}"
    );
    // A user may pass the secret itself where a file name is expected. The error must not contain this secret.
    for flag in ["--login-file", "--bearer-token-file"] {
        let ran = operator.run(&["enrollment", "list", "-n", "localhost", flag, &token]).await;
        assert!(ran.stderr_text().contains("looks like the value itself"), "{}", ran.stderr_text());
        assert!(!ran.stderr_text().contains("aaaa"), "{}", ran.stderr_text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_output_is_the_unchanged_body_of_the_response() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = Running::emulator(folder.path().to_str().expect("a path that is text"), ["--output", "json"]);
    let lines = running.json_until("operator").await;
    let mut variables = line_variables(&lines[1]);
    variables.extend(line_variables(&lines[2]));
    let show = ["dps", "enrollment", "show", "--eid", "dev-1", "--output", "json"];
    let ran = Invocation::hubward(show).vars(&variables).run().await;
    let admin = lines[0]["admin"].as_str().expect("a URL");
    let response = get(admin, "/dps/enrollments/dev-1?api-version=2021-10-01").await;
    let body = response.split("\r\n\r\n").nth(1).expect("a body");
    assert!(body.starts_with('{') && body.ends_with('}'), "{response}");
    assert_eq!(ran.stdout_text(), format!("{body}\n"), "{}", ran.stderr_text());
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn table_and_tsv_are_refused_for_commands_without_rows() {
    for format in ["table", "tsv"] {
        let ran = Invocation::hubward(["provision", "--output", format]).run().await;
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr_text().contains("--output text or --output json"), "{}", ran.stderr_text());
        // HUBWARD_OUTPUT applies to all commands, so a command without rows ignores `table` and `tsv` in this variable.
        let variables = [("HUBWARD_OUTPUT", format.to_owned())];
        let ran = Invocation::hubward(["sas", "derive-key", "--registration-id", "d", "--group-key-file", "-"])
            .vars(&variables)
            .stdin("AAECAwQFBgcICQoLDA0ODw==")
            .run()
            .await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    }
}
