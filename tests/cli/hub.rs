//! Tests of the commands for the operator of a hub (`hubward hub …`), against the emulator. A command logs in with the
//! connection string of the policy `iothubowner`, or uses the admin port without a login.

use std::time::Duration;

use hubward::{MethodCall, MethodResponse, TransportKind};
use hubward_emulator::{Fault, Point};
use hubward_sas::{SasToken, SharedKey};
use hubward_tests::cloud::{Cloud, HUB};
use hubward_tests::command::Invocation;
use serde_json::{Value, json};

use super::device::{device, known};
use super::operator::{Operator, successful_output};
use super::running::Running;

/// An operator of a hub that has the device `dev-1`. `variables` contains the connection string of the hub and the
/// address of the admin port.
async fn operator() -> Operator<Cloud> {
    let cloud = Cloud::start().await;
    let mut variables: Vec<(String, String)> = known(&cloud.emulator, "dev-1")
        .into_iter()
        .filter(|(name, _)| name.starts_with("HUBWARD_"))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let login = cloud.emulator.hub_connection_string(HUB).expect("the default hub");
    variables.push(("IOTHUB_CONNECTION_STRING".to_owned(), login));
    variables.push(("HUBWARD_EMULATOR_ADMIN".to_owned(), cloud.emulator.ready().admin));
    Operator { group: "hub", cloud, variables }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_created_shown_updated_and_deleted() {
    let operator = operator().await;
    let created = operator.json(&["device-identity", "create", "-d", "dev-2"]).await;
    let key = created["authentication"]["symmetricKey"]["primaryKey"].as_str().expect("a key").to_owned();
    assert_eq!((&created["deviceId"], &created["status"]), (&json!("dev-2"), &json!("enabled")));
    assert_eq!(operator.json(&["device-identity", "show", "-d", "dev-2"]).await["etag"], created["etag"]);

    // Text output hides the keys without --show-keys.
    let text = operator.text(&["device-identity", "show", "--device-id", "dev-2"]).await;
    assert!(text.contains("dev-2") && !text.contains(&key), "{text}");
    let text = operator.text(&["device-identity", "show", "-d", "dev-2", "--show-keys"]).await;
    assert!(text.contains(&key), "{text}");

    let changed = operator
        .json(&["device-identity", "update", "-d", "dev-2", "--set", "status=disabled", "statusReason=lost"])
        .await;
    assert_eq!((&changed["status"], &changed["statusReason"]), (&json!("disabled"), &json!("lost")));
    assert_eq!(changed["authentication"], created["authentication"]);
    let certificate = ["device-identity", "create", "-d", "x", "--am", "X509_Thumbprint", "--valid-days", "10"];
    let certificate = operator.error(&certificate).await;
    assert!(certificate["exitCode"] == 11 && certificate.to_string().contains("--primary-thumbprint"), "{certificate}");
    let etag = created["etag"].as_str().expect("an ETag");
    let stale = operator.error(&["device-identity", "update", "-d", "dev-2", "--status", "enabled", "-e", etag]).await;
    assert_eq!((&stale["serviceCode"], &stale["exitCode"]), (&json!(412_001), &json!(6)), "{stale}");
    let again = operator.error(&["device-identity", "create", "-d", "dev-2"]).await;
    assert_eq!((&again["serviceCode"], &again["fault"]), (&json!(409_001), &json!("request")), "{again}");

    let table = operator.text(&["device-identity", "list", "--output", "table"]).await;
    let row = table.lines().find(|it| it.starts_with("dev-2")).expect("a row");
    assert!(row.contains("disabled") && row.contains("Disconnected"), "{table}");
    assert_eq!(operator.json(&["device-identity", "list", "--top", "1"]).await.as_array().map(Vec::len), Some(1));

    assert_eq!(operator.text(&["device-identity", "delete", "-d", "dev-2"]).await, "deleted the device dev-2\n");
    let deleted = operator.error(&["device-identity", "show", "-d", "dev-2"]).await;
    assert_eq!((&deleted["serviceCode"], &deleted["exitCode"]), (&json!(404_001), &json!(6)), "{deleted}");
    assert!(deleted["trackingId"].is_string() && deleted["hint"].is_string(), "{deleted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_device_connects_with_its_connection_string() {
    let operator = operator().await;
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let folder = tempfile::tempdir().expect("a folder");
    let files =
        [("first.key", key), ("second.key", "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")].map(|(name, key)| {
            let file = folder.path().join(name);
            std::fs::write(&file, key).expect("a file");
            file.into_os_string().into_string().expect("text")
        });
    let keys = ["--primary-key-file", &files[0], "--secondary-key-file", &files[1]];
    operator.json(&[&["device-identity", "create", "-d", "dev-2"], &keys[..]].concat()).await;
    operator.json(&["module-identity", "create", "-d", "dev-2", "-m", "valve"]).await;
    let device_string = operator.text(&["device-identity", "connection-string", "show", "-d", "dev-2"]).await;
    assert_eq!(device_string, format!("HostName={HUB};DeviceId=dev-2;SharedAccessKey={key}\n"));
    let module_string =
        operator.text(&["module-identity", "connection-string", "show", "-d", "dev-2", "-m", "valve"]).await;
    assert!(module_string.starts_with(&format!("HostName={HUB};DeviceId=dev-2;ModuleId=valve;SharedAccessKey=")));
    let second = operator.json(&["device-identity", "connection-string", "show", "-d", "dev-2", "--kt", "secondary"]);
    assert_ne!(second.await["connectionString"].as_str().map(|it| format!("{it}\n")), Some(device_string.clone()));
    for text in [device_string, module_string] {
        let mut variables: Vec<(&str, String)> =
            operator.variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        variables.push(("IOTHUB_DEVICE_CONNECTION_STRING", text.trim().to_owned()));
        let ran = device("mqtt", &["send", "21.5"], &variables).run().await;
        assert_eq!(ran.last().expect("a result")["acknowledged"], 1);
    }
    assert_eq!(operator.json(&["module-identity", "list", "-d", "dev-2"]).await[0]["moduleId"], "valve");
    let ran = operator.command(&["module-identity", "delete", "-d", "dev-2", "-m", "valve", "--output", "json"]);
    assert_eq!(successful_output(&["delete"], &ran.run().await), "");
    assert_eq!(operator.json(&["module-identity", "list", "-d", "dev-2"]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_are_shown_merged_and_replaced() {
    let operator = operator().await;
    operator.json(&["module-identity", "create", "-d", "dev-1", "-m", "m"]).await;
    for (group, module) in [("device-twin", &[][..]), ("module-twin", &["-m", "m"])] {
        let arguments =
            |more: &[&'static str]| [&[group][..], &more[..1], &["-d", "dev-1"], module, &more[1..]].concat();
        let merged =
            operator.json(&arguments(&["update", "--desired", r#"{"x":1,"y":2}"#, "--tags", r#"{"site":"a"}"#])).await;
        assert_eq!((&merged["properties"]["desired"]["x"], &merged["tags"]), (&json!(1), &json!({"site": "a"})));
        let merged = operator.json(&arguments(&["update", "--desired", r#"{"x":null}"#])).await;
        assert_eq!(
            (&merged["properties"]["desired"]["x"], &merged["properties"]["desired"]["y"]),
            (&Value::Null, &json!(2))
        );
        let whole = r#"{"tags":{"site":"b"},"properties":{"desired":{"only":true}}}"#;
        let replaced = operator.json(&arguments(&["replace", "--json", whole])).await;
        assert_eq!((&replaced["properties"]["desired"]["y"], &replaced["tags"]["site"]), (&Value::Null, &json!("b")));
        let set = ["update", "--set", "tags.site=c", "properties.desired.interval=30"];
        let set = operator.json(&arguments(&set)).await;
        assert_eq!((&set["tags"]["site"], &set["properties"]["desired"]["interval"]), (&json!("c"), &json!(30)));
        let shown = operator.json(&arguments(&["show"])).await;
        assert_eq!(shown["etag"], set["etag"]);
        let text = operator.text(&arguments(&["show"])).await;
        assert!(text.contains("properties.desired.only"), "{text}");
        let stale = operator.error(&arguments(&["update", "--tags", "{}", "--etag", "AAAAAAAAAH8="])).await;
        assert_eq!(stale["serviceCode"], 412_001, "{stale}");
        for wrong in [&["update", "--desired", "[1]"][..], &["replace", "--json", "{}"], &["update"]] {
            assert_eq!(operator.error(&arguments(wrong)).await["exitCode"], 2, "{wrong:?}");
        }
        for path in ["desired.interval=30", "tag.site=a", "tagsite=a", "properties.reported.x=1", "properties={}"] {
            let error = operator.error(&arguments(&["update", "--set", path])).await;
            let names_both = |it: &str| it.contains("`tags`") && it.contains("`properties.desired`");
            assert!(error["exitCode"] == 2 && error["message"].as_str().is_some_and(names_both), "{path}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_called() {
    let operator = operator().await;
    let offline = ["invoke-device-method", "-d", "dev-1", "--mn", "echo", "--connect-timeout", "0"];
    let offline = operator.error(&offline).await;
    assert_eq!((&offline["serviceCode"], &offline["fault"]), (&json!(404_103), &json!("service")), "{offline}");
    // Without `--connect-timeout`, the command waits until the device connects. Without `--mp`, the payload is `{}`.
    let waiting = operator.command(&["invoke-device-method", "-d", "dev-1", "--mn", "echo"]);
    let waiting = tokio::spawn(waiting.run());
    let client = operator.cloud.hub_device("dev-1", TransportKind::Mqtt).connect().await.expect("connected");
    let echo = |call: MethodCall| async move { MethodResponse::json(201, &call.json::<Value>()?) };
    client.serve_method("echo", echo).expect("methods are served over MQTT");
    let waited = waiting.await.expect("the command ends");
    assert_eq!(successful_output(&["waiting"], &waited), "201 {}\n");
    let call = ["invoke-device-method", "-d", "dev-1", "--mn", "echo", "--mp", r#"{"delay":3}"#, "--to", "60"];
    assert_eq!(operator.json(&call).await, json!({"status": 201, "payload": {"delay": 3}}));
    assert_eq!(operator.text(&call).await, "201 {\"delay\":3}\n");
    client.close(Duration::from_secs(10)).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_waiting_request() {
    let operator = operator().await;
    let call = ["invoke-device-method", "-d", "dev-1", "--mn", "echo", "--to", "300", "--output", "json"];
    let log = [("HUBWARD_LOG", "hubward_service=debug".to_owned())];
    let mut running = Running::start(operator.command(&call).vars(&log));
    running.logged("sending a request to the service").await;
    let (ended, stdout, _) = running.interrupt().await;
    assert_eq!(ended.code(), Some(130), "{stdout}");
    let error: Value = serde_json::from_str(&stdout).expect("one line");
    assert_eq!((&error["type"], &error["stage"]), (&json!("error"), &json!("interrupted")), "{error}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_command_that_reads_a_file() {
    let operator = operator().await;
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let created = std::process::Command::new("mkfifo").arg(&pipe).status().expect("`mkfifo` is installed");
    assert!(created.success());
    let path = pipe.to_str().expect("text");
    let text = format!("@{path}");
    for arguments in [
        &["hub", "query", "-q", "SELECT * FROM devices", "--login-file", path][..],
        &["hub", "query", "-q", "SELECT * FROM devices", "--bearer-token-file", path, "--host", "contoso"],
        &["hub", "device-identity", "create", "-d", "dev-2", "--primary-key-file", path],
        &["hub", "device-twin", "update", "-d", "dev-1", "--tags", &text],
        &["dps", "enrollment", "list", "--login-file", path],
        &["dps", "enrollment-group", "compute-device-key", "--rid", "dev-9", "--key-file", path],
    ] {
        let arguments = arguments.iter().copied().chain(["--output", "json"]);
        let running = Running::start(Invocation::hubward(arguments.clone()).vars(&operator.variables));
        // The test opens the named pipe for writing. This succeeds only after the command has opened the pipe for
        // reading. The test then writes nothing, and the command waits for bytes.
        let path = pipe.clone();
        let writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(path));
        let _writer = writer.await.expect("no panic").expect("a pipe");
        let (ended, stdout, stderr) = running.interrupt().await;
        let arguments: Vec<&str> = arguments.collect();
        assert_eq!(ended.code(), Some(130), "{arguments:?}: {stdout}{stderr}");
        let error: Value = serde_json::from_str(&stdout).expect("one line");
        assert_eq!((&error["type"], &error["stage"]), (&json!("error"), &json!("interrupted")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_maximum_length_warns_that_there_may_be_more() {
    let operator = operator().await;
    for number in 1..1000 {
        operator.cloud.emulator.add_device(HUB, &format!("more-{number}")).expect("a valid id");
    }
    let ran = operator.command(&["device-identity", "list", "--output", "tsv"]).run().await;
    assert_eq!((ran.code, ran.stdout_text().lines().count()), (Some(0), 1000), "{}", ran.stderr_text());
    assert!(ran.stderr_text().contains("there may be more: hubward hub query"), "{}", ran.stderr_text());
    // If the operator asks for fewer devices with --top, the command does not warn.
    assert_eq!(operator.text(&["device-identity", "list", "--top", "999", "-o", "tsv"]).await.lines().count(), 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_renewed_and_swapped() {
    let operator = operator().await;
    let keys = |it: &Value| {
        let keys = &it["authentication"]["symmetricKey"];
        ["primaryKey", "secondaryKey"].map(|name| keys[name].as_str().expect("a key").to_owned())
    };
    operator.json(&["module-identity", "create", "-d", "dev-1", "-m", "valve"]).await;
    for (kind, identity) in
        [("device-identity", &["-d", "dev-1"][..]), ("module-identity", &["-d", "dev-1", "-m", "valve"])]
    {
        let arguments = |more: &[&'static str]| [&[kind][..], &more[..1], identity, &more[1..]].concat();
        let before = keys(&operator.json(&arguments(&["show"])).await);
        let first = keys(&operator.json(&arguments(&["renew-key", "--kt", "primary"])).await);
        assert!(first[0] != before[0] && first[1] == before[1]);
        let swapped = keys(&operator.json(&arguments(&["renew-key", "--key-type", "swap"])).await);
        let [primary, secondary] = first;
        assert_eq!(swapped, [secondary, primary]);
        let both = keys(&operator.json(&arguments(&["renew-key", "--kt", "both"])).await);
        assert!(both[0] != swapped[0] && both[1] != swapped[1] && both[0] != both[1]);
        let stale = operator.error(&arguments(&["renew-key", "--kt", "both", "--etag", "AAAAAAAAAH8="])).await;
        assert_eq!(stale["serviceCode"], 412_001, "{stale}");
    }
    assert_eq!(operator.json(&["module-identity", "list", "-d", "dev-1", "--top", "1"]).await[0]["moduleId"], "valve");
}

#[tokio::test(flavor = "multi_thread")]
async fn query_prints_every_output_format() {
    let operator = operator().await;
    operator.json(&["device-identity", "create", "-d", "dev-2"]).await;
    operator.json(&["device-twin", "update", "-d", "dev-2", "--tags", r#"{"site":"a"}"#]).await;
    let rows = ["query", "-q", "SELECT deviceId, tags.site AS site FROM devices"];
    let text = operator.text(&[&rows[..], &["--output", "tsv"]].concat()).await;
    assert_eq!(text, "dev-1\t\ndev-2\ta\n");
    let twins = ["query", "--query-command", "SELECT * FROM devices WHERE tags.site = 'a'"];
    assert_eq!(operator.json(&twins).await[0]["deviceId"], "dev-2");
    let table = operator.text(&[&twins[..], &["--output", "table"]].concat()).await;
    assert!(table.starts_with("Device ") && table.contains("dev-2") && table.lines().count() == 3, "{table}");
    let every = ["query", "-q", "SELECT * FROM devices", "--top", "-1"];
    assert_eq!(operator.json(&every).await.as_array().map(Vec::len), Some(2));
    let many = operator.error(&["device-identity", "list", "--top", "2000"]).await;
    assert!(many["message"].as_str().is_some_and(|it| it.contains("hubward hub query")), "{many}");
    let all = ["query", "-q", "SELECT * FROM devices", "--top", "1"];
    assert_eq!(operator.json(&all).await.as_array().map(Vec::len), Some(1));
    assert_eq!(operator.json(&["query", "-q", "SELECT * FROM devices WHERE deviceId = 'x'"]).await, json!([]));
    assert_eq!(operator.error(&["query", "-q", "SELECT FROM"]).await["fault"], "request");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_in_a_twin_do_not_reach_the_terminal() {
    let operator = operator().await;
    let tags = json!({ "site": "\u{1b}[2J\u{9b}31m\u{202e}\u{7f}x" });
    operator.json(&["device-twin", "update", "-d", "dev-1", "--tags", &tags.to_string()]).await;
    let rows = ["query", "-q", "SELECT tags.site AS site FROM devices"];
    for (format, expected) in [
        ("tsv", "\\u001b[2J\\u009b31m\\u202e\\u007fx\n"),
        ("text", "site\n-----------\n [2J 31m  x\n"),
        ("table", "site\n-----------\n [2J 31m  x\n"),
    ] {
        assert_eq!(operator.text(&[&rows[..], &["--output", format]].concat()).await, expected, "{format}");
    }
    assert_eq!(operator.json(&rows).await, json!([tags]));
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_tokens_belong_to_the_policy_or_the_device() {
    let operator = operator().await;
    let owner = operator.cloud.emulator.policies().into_iter().find(|it| it.name == "iothubowner").expect("the owner");
    let token = |text: &str| SasToken::parse(text.trim()).expect("a token");
    let by_login = token(&operator.text(&["generate-sas-token", "--du", "600"]).await);
    let by_admin_port = token(&operator.text(&["generate-sas-token", "--emulator"]).await);
    for it in [by_login, by_admin_port] {
        assert_eq!((it.resource().as_str(), it.policy()), (HUB, Some("iothubowner")));
        assert!(
            owner
                .connection_string()
                .split_once("SharedAccessKey=")
                .is_some_and(|(_, key)| { it.is_signed_by(&SharedKey::from_base64(key).expect("a key")) })
        );
    }
    let service = token(&operator.text(&["generate-sas-token", "--emulator", "--pn", "service"]).await);
    assert_eq!(service.policy(), Some("service"));
    let of_device = operator.json(&["generate-sas-token", "-d", "dev-1"]).await;
    let of_device = token(of_device["sas"].as_str().expect("a token"));
    assert_eq!((of_device.resource(), of_device.policy()), (format!("{HUB}/devices/dev-1"), None));
    // With `--device-id`, the command accepts `--pn` (the name of a policy), as `az` does, but ignores it.
    operator.text(&["generate-sas-token", "-d", "dev-1", "--pn", "service"]).await;
    let text = operator.text(&["device-identity", "connection-string", "show", "-d", "dev-1"]).await;
    let ran = Invocation::hubward(["hub", "generate-sas-token", "--cs", text.trim()]).run().await;
    assert_eq!(token(&ran.stdout_text()).resource(), format!("{HUB}/devices/dev-1"));
    let (warning, key) = (ran.stderr_text(), text.trim().rsplit_once("SharedAccessKey=").expect("a key").1);
    assert!(warning.contains("--connection-string is on the command line") && !warning.contains(key), "{warning}");
    let module = format!("HostName={HUB};DeviceId=dev-1;ModuleId=valve;SharedAccessKey={key}");
    let of_module = Invocation::hubward(["hub", "generate-sas-token", "--cs", &module]).run().await;
    assert_eq!(token(&of_module.stdout_text()).resource(), format!("{HUB}/devices/dev-1/modules/valve"));
    for wrong in [&["--pn", "service"][..], &["--kt", "secondary"], &["--cs", "HostName=h;DeviceId=d"]] {
        let other = operator.error(&[&["generate-sas-token"], wrong].concat()).await;
        assert_eq!(other["exitCode"], 2, "{other}");
    }
}

/// The service returns the device's answer unchanged, even if the answer is not JSON. Source: Azure/azure-iot-sdk-node,
/// issue 736.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_json_is_reported_as_an_error_of_the_device() {
    let operator = operator().await;
    let mut device = operator.cloud.hub_device("dev-1", TransportKind::Mqtt).raw(true).await.expect("connected");
    device.subscribe("$iothub/methods/POST/#", 0).await.expect("granted");
    let call = ["invoke-device-method", "-d", "dev-1", "--mn", "reboot"];
    let answering = async {
        let topic = device.next().await.expect("a call").topic;
        assert_eq!(topic, "$iothub/methods/POST/reboot/?$rid=1");
        device.publish("$iothub/methods/res/200/?$rid=1", b"{'ok': true}").await.expect("acknowledged");
    };
    let (error, ()) = tokio::join!(operator.error(&call), answering);
    assert_eq!((&error["exitCode"], &error["fault"]), (&json!(6), &json!("service")), "{error}");
    let message = error["message"].as_str().expect("a string");
    assert!(message.contains("`dev-1` answered") && message.contains("{'ok': true}"), "{message}");
    assert!(error["hint"].as_str().is_some_and(|it| it.contains("the device's program")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c2d_messages_are_sent_and_telemetry_is_monitored() {
    let operator = operator().await;
    let sent = operator
        .json(&[
            "c2d-message",
            "send",
            "-d",
            "dev-1",
            "--data",
            "reboot",
            "-p",
            "k=v;n=1",
            "--mid",
            "m1",
            "--ack",
            "full",
        ])
        .await;
    assert_eq!(sent, json!({"messageId": "m1"}));
    let client = operator.cloud.hub_device("dev-1", TransportKind::Mqtt).connect().await.expect("connected");
    let mut inbox = client.cloud_messages().expect("messages come over MQTT");
    let received = inbox.next().await.expect("the message");
    let message = received.message();
    assert_eq!((&message.body[..], message.message_id(), message.ack()), (&b"reboot"[..], Some("m1"), Some("full")));
    let properties: Vec<(&str, Option<&str>)> = message.properties().collect();
    assert_eq!(properties, [("k", Some("v")), ("n", Some("1"))]);
    received.complete().await.expect("completed");
    for text in ["one", "two"] {
        client.send(hubward::Message::new(text).property("k", "v")).await.expect("acknowledged");
    }
    let all = ["monitor-events", "-y", "-d", "dev-1", "--from", "0", "--count", "2"];
    let table = operator.error(&[&all[..], &["--output", "tsv"]].concat()).await;
    assert_eq!(table["exitCode"], 2, "{table}");
    let shown = operator.text(&[&all[..], &["--props", "app"]].concat()).await;
    // The first word of a message is its time.
    let lines: Vec<&str> = shown.lines().map(|it| it.split_once("Z ").map_or(it, |(_, rest)| rest)).collect();
    assert_eq!(lines, ["dev-1: one", "  k=v", "dev-1: two", "  k=v"]);
    let lines = operator.text(&[&all[..], &["--output", "json"]].concat()).await;
    let lines: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).expect(it)).collect();
    assert_eq!((lines.len(), &lines[1]["body"], &lines[1]["offset"]), (2, &json!("two"), &json!(1)));

    // monitor-events prints new telemetry until Ctrl-C.
    let mut running = Running::start(operator.command(&["monitor-events", "--emulator", "--from", "2"]));
    client.send(hubward::Message::new("three")).await.expect("acknowledged");
    assert!(running.line().await.is_some_and(|it| it.ends_with("Z dev-1: three")));
    let (ended, rest, stderr) = running.interrupt().await;
    assert_eq!((ended.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
    client.close(Duration::from_secs(10)).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_azure_serves_differently_are_refused() {
    let login =
        "HostName=contoso.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
    let variables = [("IOTHUB_CONNECTION_STRING", login.to_owned())];
    let ran = Invocation::hubward(["hub", "monitor-events", "-d", "dev-1", "--output", "json"]);
    let error = ran.vars(&variables).run().await.last().expect("an error");
    assert_eq!((&error["exitCode"], &error["fault"]), (&json!(11), &json!("unsupported")), "{error}");
    let command = "az iot hub monitor-events --hub-name contoso --device-id dev-1 --timeout 0";
    assert!(error["hint"].as_str().is_some_and(|it| it.starts_with(command)), "{error}");
    // In Azure, only other modules can send messages to the inputs of a module. So the command refuses `--input-name`.
    let ran = Invocation::hubward(["hub", "c2d-message", "send", "-d", "d", "-m", "valve", "--input-name", "in"]);
    let error = ran.args(["--output", "json"]).vars(&variables).run().await.last().expect("an error");
    assert_eq!((&error["exitCode"], &error["fault"]), (&json!(11), &json!("unsupported")), "{error}");
    assert!(error["message"].as_str().is_some_and(|it| it.ends_with("only from other modules")), "{error}");
}

/// For a hub in Azure, the command sends the same HTTP request as Azure IoT Explorer. For an emulated hub, it would use
/// the admin port. So the test gives the emulated hub a name in Azure, and does not set the address of the admin port.
#[tokio::test(flavor = "multi_thread")]
async fn a_c2d_message_to_a_hub_in_azure_is_sent_over_http() {
    let hub = "my-hub.azure-devices.net";
    let emulator = hubward_emulator::Emulator::builder().hubs([hub]).start().await.expect("the emulator starts");
    emulator.add_device(hub, "dev#1").expect("a device");
    let variables = [
        ("IOTHUB_CONNECTION_STRING", emulator.hub_connection_string(hub).expect("a known hub")),
        ("HUBWARD_CA_FILE", emulator.ready().ca_file.display().to_string()),
        ("HUBWARD_CONNECT_TO", emulator.ready().connect_to()),
    ];
    let send = ["hub", "c2d-message", "send", "-d", "dev#1", "--data", "reboot", "-p", "k=v;n=1", "--ttl", "1h"];
    let all = ["--mid", "m1", "--ack", "full", "--ct", "text/plain", "--output", "json"];
    let ran = Invocation::hubward(send).args(all).vars(&variables).run().await;
    assert_eq!((ran.code, ran.stdout_text().as_str()), (Some(0), "{\"messageId\":\"m1\"}\n"), "{}", ran.stderr_text());
    assert!(ran.stderr_text().contains("preview: "), "{}", ran.stderr_text());
    let ran = Invocation::hubward(send).vars(&variables).run().await;
    let waiting = emulator.cloud_messages(hub, "dev#1");
    assert_eq!((waiting.len(), waiting[0].message_id.as_str()), (2, "m1"));
    assert_eq!(ran.stdout_text(), format!("message {} waits for dev#1\n", waiting[1].message_id));
    // The name of a property cannot contain upper-case letters here. Each property is an HTTP header of the request,
    // and HTTP ignores the case of header names. The device would receive `Kind` as `kind`, so the command refuses this
    // property.
    let upper = ["hub", "c2d-message", "send", "-d", "dev#1", "-p", "Kind=order", "--output", "json"];
    let error = Invocation::hubward(upper).vars(&variables).run().await.last().expect("an error");
    assert_eq!(error["exitCode"], 2, "{error}");
    let missing = ["hub", "c2d-message", "send", "-d", "dev-2", "--output", "json"];
    let error = Invocation::hubward(missing).vars(&variables).run().await.last().expect("an error");
    assert_eq!((&error["exitCode"], &error["serviceCode"]), (&json!(6), &json!(404_001)), "{error}");
    assert_eq!(emulator.cloud_messages(hub, "dev#1").len(), 2);
    // If the hub does not support the HTTP request, the hint shows the command of `az`, which uses AMQP.
    let page = Fault::Body { status: 404, content_type: "text/html".into(), bytes: b"no such page".to_vec() };
    emulator.fault(Point::HubService, page).expect("a valid fault");
    let send = ["hub", "c2d-message", "send", "-d", "dev 1", "--data", "it's", "-p", "k=v", "--output", "json"];
    let error = Invocation::hubward(send).vars(&variables).run().await.last().expect("an error");
    let command = r"az iot device c2d-message send --hub-name my-hub --device-id 'dev 1' --data 'it'\''s' --props k=v";
    assert!(error["hint"].as_str().is_some_and(|it| it.starts_with(command)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_an_azure_name_is_emulated_if_the_emulator_has_it() {
    let hub = "my-hub.azure-devices.net";
    let emulator = hubward_emulator::Emulator::builder().hubs([hub]).start().await.expect("the emulator starts");
    emulator.enroll("dev-1").expect("enrolled");
    let login =
        |name: &str| format!("HostName={name};SharedAccessKeyName=service;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==");
    let admin = ("HUBWARD_EMULATOR_ADMIN", emulator.ready().admin);
    let own = emulator.hub_connection_string(hub).expect("a known hub");
    let mut variables = vec![("IOTHUB_CONNECTION_STRING", own), admin.clone()];
    variables.push(("HUBWARD_CA_FILE", emulator.ready().ca_file.display().to_string()));
    variables.push(("HUBWARD_CONNECT_TO", emulator.ready().connect_to()));
    let create = ["hub", "device-identity", "create", "-d", "dev-1"];
    successful_output(&create, &Invocation::hubward(create).vars(&variables).run().await);
    let send = ["hub", "c2d-message", "send", "-d", "dev-1", "--data", "x", "--mid", "m1", "--output", "json"];
    let sent = successful_output(&send, &Invocation::hubward(send).vars(&variables).run().await);
    assert_eq!(serde_json::from_str::<Value>(&sent).expect("JSON"), json!({"messageId": "m1"}));
    // If the emulator does not have the hub, or if no emulator runs, hubward treats the hub as a hub in Azure. Then
    // `monitor-events` fails, because it supports only the emulator.
    let no_emulator = ("HUBWARD_EMULATOR_ADMIN", "http://127.0.0.1:1".to_owned());
    for variables in [
        [("IOTHUB_CONNECTION_STRING", login("other.azure-devices.net")), admin],
        [("IOTHUB_CONNECTION_STRING", login(hub)), no_emulator],
    ] {
        let monitor = ["hub", "monitor-events", "--output", "json"];
        let error = Invocation::hubward(monitor).vars(&variables).run().await.last().expect("an error");
        assert_eq!(error["exitCode"], 11, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_for_the_emulator_need_no_login() {
    let operator = operator().await;
    let admin = operator.cloud.emulator.ready().admin;
    let show = ["hub", "device-identity", "show", "-d", "dev-1", "--output", "json"];
    let flag = format!("--emulator={admin}");
    let by_flag = Invocation::hubward(show).args([flag.as_str()]).run().await;
    let by_variable = Invocation::hubward(show).vars(&[("HUBWARD_EMULATOR_ADMIN", admin)]).run().await;
    for ran in [by_flag, by_variable] {
        let device: Value = serde_json::from_str(&successful_output(&show, &ran)).expect("JSON");
        assert_eq!(device["deviceId"], "dev-1");
    }
    let no_login = Invocation::hubward(show).run().await.last().expect("an error");
    let hint = no_login["hint"].as_str().unwrap_or_default();
    assert!(no_login["exitCode"] == 2 && hint.contains("IOTHUB_CONNECTION_STRING") && hint.contains("--emulator"));
    let other = Invocation::hubward(show).args([flag.as_str(), "--hub-name", "other"]).run().await;
    let other = other.last().expect("an error");
    assert!(other["exitCode"] == 2 && other["hint"].as_str().is_some_and(|it| it.contains(HUB)), "{other}");
    assert_eq!(other["message"], "the emulator has no hub with the name other");
}
