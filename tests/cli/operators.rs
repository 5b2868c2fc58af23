//! Tests how the commands of operators print answers: `--query`, JSON on a terminal, times, the next steps, and
//! addresses in errors.

use hubward::{Message, TransportKind};
use hubward_emulator::{Fault, Point};
use hubward_tests::cloud::{Cloud, HUB};
use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};

use super::device::known;
#[cfg(unix)]
use super::path_with_hubward;
#[cfg(target_os = "linux")]
use super::terminal;

/// An emulator whose hub has the device `dev-1`.
async fn cloud() -> Cloud {
    let cloud = Cloud::start().await;
    cloud.emulator.add_device(HUB, "dev-1").expect("a valid id");
    cloud
}

/// A command for operators, such as `hub device-identity list`. It uses the admin port, so it needs no login.
fn command(cloud: &Cloud, arguments: &[&str]) -> Invocation {
    let admin = [("HUBWARD_EMULATOR_ADMIN", cloud.emulator.ready().admin)];
    Invocation::hubward(arguments.iter().copied()).vars(&admin)
}

async fn run(cloud: &Cloud, arguments: &[&str]) -> Ran {
    command(cloud, arguments).run().await
}

/// Runs a command that must succeed. Returns its output.
async fn text(cloud: &Cloud, arguments: &[&str]) -> String {
    let ran = run(cloud, arguments).await;
    assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{arguments:?}: {}", ran.stdout_text());
    ran.stdout_text()
}

#[tokio::test(flavor = "multi_thread")]
async fn query_selects_a_part_of_the_answer_in_every_format() {
    let cloud = cloud().await;
    cloud.emulator.add_device(HUB, "dev-2").expect("a valid id");
    let list = ["hub", "device-identity", "list", "--query"];
    for (more, expected) in [
        (&["[].deviceId", "-o", "json"][..], "[\"dev-1\",\"dev-2\"]\n"),
        (&["[].deviceId", "-o", "tsv"], "dev-1\ndev-2\n"),
        (&["[].deviceId", "-o", "table"], "Result\n------\ndev-1\ndev-2\n"),
        (&["[].deviceId"], "dev-1\ndev-2\n"),
        // The columns have the order of the expression.
        (&["[].{Status: status, Device: deviceId}", "-o", "tsv"], "enabled\tdev-1\nenabled\tdev-2\n"),
        (
            &["[?deviceId=='dev-2'].{status: status, last: lastActivityTime}", "-o", "table"],
            "Status   Last\n-------  -----\nenabled  never\n",
        ),
        (&["[].[deviceId, capabilities.iotEdge]", "-o", "tsv"], "dev-1\tfalse\ndev-2\tfalse\n"),
        (&["length(@)", "-o", "tsv"], "2\n"),
        (&["[0].authentication", "-o", "json"], ""),
        (&["[?deviceId=='none']", "-o", "json"], "[]\n"),
        (&["[0].absent", "-o", "json"], ""),
    ] {
        let shown = text(&cloud, &[&list[..], more].concat()).await;
        if more[0] == "[0].authentication" {
            let part: Value = serde_json::from_str(&shown).expect(&shown);
            assert_eq!(part["type"], "sas");
        } else {
            assert_eq!(shown, expected, "{more:?}");
        }
    }
    // `--query` also works on answers that the command computes itself, and in the commands of `hubward dps`.
    let show = ["hub", "device-identity", "connection-string", "show", "-d", "dev-2", "-o", "tsv"];
    let whole = text(&cloud, &show).await;
    assert_eq!(text(&cloud, &[&show[..], &["--query", "connectionString"]].concat()).await, whole);
    let created = ["dps", "enrollment", "create", "--eid", "pump-1", "--query", "registrationId", "-o", "tsv"];
    assert_eq!(text(&cloud, &created).await, "pump-1\n");
    // With `--query`, text mode prints only the selected part. It does not print the next steps.
    let created = ["hub", "device-identity", "create", "-d", "dev-3", "--query", "deviceId"];
    assert_eq!(text(&cloud, &created).await, "dev-3\n");
    // A command without an answer prints its confirmation.
    let deleted = ["hub", "device-identity", "delete", "-d", "dev-3", "--query", "deviceId"];
    assert_eq!(text(&cloud, &deleted).await, "deleted the device dev-3\n");
    // The columns of a query over twins.
    let twins = ["hub", "query", "-q", "SELECT * FROM devices", "--query", "[].deviceId | sort(@) | [0]", "-o", "tsv"];
    assert_eq!(text(&cloud, &twins).await, "dev-1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_query_is_refused_before_any_request() {
    let cloud = cloud().await;
    for (expression, expected) in [
        ("[].{a b}", "at character 7 (`b}`)"),
        ("[?deviceId", "at its end"),
        ("lenght(@)", "at character 1 (`lenght(@)`): there is no function `lenght`"),
        ("deviceId[::0]", "the step of a slice must not be 0"),
    ] {
        for group in
            [&["hub", "device-identity", "create", "-d", "x"][..], &["dps", "enrollment", "create", "--eid", "x"]]
        {
            let ran = run(&cloud, &[group, &["--output", "json", "--query", expression]].concat()).await;
            let error = ran.last().expect("an error");
            assert_eq!((ran.code, &error["stage"], &error["endpoint"]), (Some(2), &json!("arguments"), &Value::Null));
            assert!(error["message"].as_str().is_some_and(|it| it.contains(expected)), "{error}");
        }
    }
    assert!(cloud.emulator.device(HUB, "x").is_none(), "the command has created the device");
    let stream = run(&cloud, &["hub", "monitor-events", "--query", "body"]).await;
    assert_eq!(stream.code, Some(2));
    assert!(stream.stderr_text().contains("does not support --query"), "{}", stream.stderr_text());

    // The types of the values are known only with the answer.
    let unfit = ["hub", "device-identity", "create", "-d", "dev-2", "--query", "length(capabilities.iotEdge)"];
    let ran = run(&cloud, &unfit).await;
    let stderr = ran.stderr_text();
    assert_eq!(ran.code, Some(2), "{stderr}");
    assert!(stderr.contains("the service has carried out the request") && stderr.contains("boolean"), "{stderr}");
    assert!(cloud.emulator.device(HUB, "dev-2").is_some());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn json_is_indented_on_a_terminal_only() {
    let cloud = cloud().await;
    for (more, expected) in [
        (
            &["--query", "[].{name: deviceId, tags: tags}"][..],
            "[\n  {\n    \"name\": \"dev-1\",\n    \"tags\": null\n  }\n]\n",
        ),
        (&["--query", "[0].deviceId"], "\"dev-1\"\n"),
    ] {
        let arguments = [&["hub", "device-identity", "list", "--output", "json"][..], more].concat();
        let (end, other_end) = terminal::open();
        let reader = terminal::read(other_end);
        let ran = command(&cloud, &arguments).stdout(end).run().await;
        assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""));
        assert_eq!(reader.join().expect("the output"), expected);
        assert_eq!(text(&cloud, &arguments).await.lines().count(), 1);
    }
    // Without `--query`: on a terminal, the JSON has the same members in the same order, but on several lines.
    let show = ["hub", "device-identity", "show", "-d", "dev-1", "--output", "json"];
    let (end, other_end) = terminal::open();
    let reader = terminal::read(other_end);
    assert_eq!(command(&cloud, &show).stdout(end).run().await.code, Some(0));
    let (indented, whole) = (reader.join().expect("the output"), text(&cloud, &show).await);
    assert!(indented.starts_with("{\n  \"deviceId\": \"dev-1\",\n"), "{indented}");
    let without_spaces = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(without_spaces(&indented), without_spaces(&whole));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_never_and_programs_read_the_time() {
    let cloud = cloud().await;
    let show = ["hub", "device-identity", "show", "-d", "dev-1"];
    let shown = text(&cloud, &show).await;
    let line = shown.lines().find(|it| it.starts_with("lastActivityTime ")).expect("a line");
    assert_eq!(line.split_whitespace().nth(1), Some("never"), "{shown}");
    let table = text(&cloud, &["hub", "device-identity", "list", "--output", "table"]).await;
    assert!(table.lines().nth(2).is_some_and(|it| it.ends_with("  never")), "{table}");
    let tsv = text(&cloud, &["hub", "device-identity", "list", "--output", "tsv"]).await;
    assert!(tsv.ends_with("\t0001-01-01T00:00:00Z\n"), "{tsv}");
    let json = text(&cloud, &[&show[..], &["--output", "json"]].concat()).await;
    assert!(json.contains("\"lastActivityTime\":\"0001-01-01T00:00:00Z\""), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn monitored_telemetry_has_the_time_of_its_arrival() {
    let cloud = cloud().await;
    let client = cloud.hub_device("dev-1", TransportKind::Mqtt).connect().await.expect("connected");
    client.send(Message::new("21.5")).await.expect("acknowledged");
    let monitor = ["hub", "monitor-events", "--from", "0", "--count", "1"];
    let json: Value =
        serde_json::from_str(&text(&cloud, &[&monitor[..], &["-o", "json"]].concat()).await).expect("JSON");
    let time = json["enqueuedTime"].as_str().expect("a time");
    let (seconds, fraction) = time.split_once('.').expect("a fraction");
    let expected = format!("{seconds}.{}Z dev-1: 21.5\n", &fraction[..3]);
    assert_eq!(text(&cloud, &monitor).await, expected);
    client.close(std::time::Duration::from_secs(10)).await.expect("closed");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_create_prints_connect_the_device() {
    let cloud = cloud().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_with_hubward(folder.path());
    let file = folder.path().join("the operator's login");
    let login = cloud.emulator.hub_connection_string(HUB).expect("the hub");
    std::fs::write(&file, &login).expect("a file");
    let by_file = ["--login-file", file.to_str().expect("text")];
    let vars = cloud.emulator.enroll("any").expect("a valid id").vars();
    let network: Vec<_> = vars.into_iter().filter(|(name, _)| name.starts_with("HUBWARD_")).collect();
    let secret = vec![("IOTHUB_CONNECTION_STRING", login.clone())];
    // Each row: the arguments of `create`, the variables of `create`, and the variables that the printed lines need.
    for (at, (arguments, environment, required)) in [
        (&[][..], vec![("HUBWARD_EMULATOR_ADMIN", cloud.emulator.ready().admin)], vec![]),
        (&["--show-keys"][..], vec![("HUBWARD_EMULATOR_ADMIN", cloud.emulator.ready().admin)], vec![]),
        (&by_file[..], network.clone(), vec![]),
        (&[][..], [network, secret.clone()].concat(), secret),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("-it's_{at}");
        let id_argument = format!("--device-id={id}");
        let create = ["hub", "device-identity", "create", id_argument.as_str()];
        let ran = Invocation::hubward(create).args(arguments.iter().copied()).vars(&environment).run().await;
        let text = ran.stdout_text();
        let (_, lines) =
            text.split_once("\nFor the device:\n").unwrap_or_else(|| panic!("{text}{}", ran.stderr_text()));
        assert_eq!(lines.contains("# with the login in IOTHUB_CONNECTION_STRING:"), !required.is_empty(), "{text}");
        assert_eq!(lines.contains("SharedAccessKey="), arguments.contains(&"--show-keys"), "{text}");
        assert!(lines.ends_with("# then: hubward device send 21.5, or hubward device run\n"), "{text}");
        let mut variables = vec![("PATH", path.clone()), ("HUBWARD_OUTPUT", "json".to_owned())];
        variables.extend(required);
        let script = format!("cd /\n{lines}\nexec hubward device send one two\n");
        let ran = Invocation::of("sh".as_ref()).vars(&variables).stdin(script).run().await;
        let result = ran.last().unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        assert_eq!((&result["acknowledged"], ran.code), (&json!(2), Some(0)), "{result}\n{text}");
    }
    let disabled = ["hub", "device-identity", "create", "-d", "off", "--status", "disabled"];
    assert!(!text(&cloud, &disabled).await.contains("For the device"), "this device cannot connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_address_that_was_dialed() {
    let cloud = cloud().await;
    let rule = [("HUBWARD_CONNECT_TO", format!("hub.invalid::{}", cloud.emulator.https_addr()))];
    let login = "HostName=hub.invalid;SharedAccessKeyName=p;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
    let device = "HostName=hub.invalid;DeviceId=d;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
    let login = [("IOTHUB_CONNECTION_STRING", login.to_owned())];
    let device = [("IOTHUB_DEVICE_CONNECTION_STRING", device.to_owned())];
    let address = cloud.emulator.https_addr().to_string();
    for (arguments, variables, endpoint) in [
        (&["hub", "device-identity", "list"][..], &login, "hub.invalid:443"),
        (&["device", "send", "x", "--transport", "mqtt-ws"], &device, "hub.invalid:443"),
        (&["device", "twin", "show", "--timeout", "3s"], &device, "hub.invalid:8883"),
    ] {
        let command = || Invocation::hubward(arguments.iter().copied()).vars(variables).vars(&rule);
        let error = command().args(["--output", "json"]).run().await.last().expect("an error");
        assert_eq!((&error["endpoint"], &error["dialed"]), (&json!(endpoint), &json!(address)), "{error}");
        let stderr = command().run().await.stderr_text();
        assert!(stderr.contains(&format!("endpoint {endpoint} via {address}, fault ")), "{stderr}");
    }
    // Without a rule, only the endpoint.
    let command = Invocation::hubward(["hub", "device-identity", "list", "--output", "json"]).vars(&login);
    let error = command.run().await.last().expect("an error");
    assert_eq!((&error["endpoint"], &error["dialed"]), (&json!("hub.invalid:443"), &Value::Null), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_does_not_answer_is_named() {
    let cloud = cloud().await;
    let variables = known(&cloud.emulator, "dev-1");
    cloud.emulator.fault_always(Point::HubTwinGet, Fault::Never).expect("a valid fault");
    let command = Invocation::hubward(["device", "twin", "show", "--transport", "mqtt", "--output", "json"]);
    let error = command.args(["--timeout", "8s"]).vars(&variables).run().await.last().expect("an error");
    assert_eq!(error["endpoint"], format!("{HUB}:8883"), "{error}");
    assert_eq!(error["dialed"], cloud.emulator.mqtt_addr().to_string(), "{error}");
}
