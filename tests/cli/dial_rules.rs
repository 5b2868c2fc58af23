//! Tests of `HUBWARD_CONNECT_TO`: the rules in it redirect host names to an emulator. A command prints a line on stderr
//! for each host name that a rule redirects.

use hubward_emulator::Emulator;
use hubward_tests::command::{Invocation, Ran};
use serde_json::json;

use super::{cloud, transports};

/// Runs a command with these variables. Checks that stdout consists of JSON lines.
async fn run<'a>(arguments: impl IntoIterator<Item = &'a str>, variables: &[(&'static str, String)]) -> Ran {
    let ran = Invocation::hubward(arguments).args(["--output", "json"]).vars(variables).run().await;
    ran.lines().expect("only JSON on stdout");
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirected_host_is_mentioned_once() {
    let (emulator, enrolled) = cloud().await;
    for transport in transports() {
        for arguments in [
            &["provision", "--messages", "2"][..],
            &["device", "send", "x"],
            // The log does not hide the line.
            &["provision", "--log", "off"],
        ] {
            if transport == "https" && arguments[0] == "device" {
                continue;
            }
            let ran = run([arguments, &["--transport", transport]].concat(), &enrolled.vars()).await;
            let (port, address) = match transport {
                "mqtt" => (8883, emulator.mqtt_addr()),
                _ => (443, emulator.https_addr()),
            };
            let line = format!("connecting to localhost:{port} via {address}, HUBWARD_CONNECT_TO\n");
            assert_eq!((ran.code, ran.stderr_text()), (Some(0), line), "{arguments:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_operators_mention_the_flag_and_the_variable() {
    let (emulator, enrolled) = cloud().await;
    let address = emulator.https_addr();
    let mut variables = enrolled.vars();
    variables.push(("PROVISIONING_CONNECTION_STRING", emulator.dps_connection_string()));
    variables.push(("IOTHUB_CONNECTION_STRING", emulator.hub_connection_string("localhost").expect("the hub")));
    let rule = format!("localhost::{address}");
    for command in [["dps", "enrollment", "list"], ["hub", "device-identity", "list"]] {
        for (more, setting) in [(&[][..], "HUBWARD_CONNECT_TO"), (&["--connect-to", &rule], "--connect-to")] {
            let ran = Invocation::hubward(command).args(more.iter().copied()).vars(&variables).run().await;
            let line = format!("connecting to localhost:443 via {address}, {setting}\n");
            assert_eq!((ran.code, ran.stderr_text()), (Some(0), line), "{command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_apply_only_to_the_names_of_the_emulator() {
    let emulator = Emulator::builder().hubs(["hub.invalid"]).start().await.expect("the emulator starts");
    let mut variables = emulator.enroll("dev-1").expect("a valid id").vars();
    let (_, rules) = variables.iter().find(|(name, _)| *name == "HUBWARD_CONNECT_TO").expect("rules");
    assert!(rules.split(',').all(|it| !it.starts_with(':') && !it.contains("azure")), "{rules}");

    // DNS does not know the name `hub.invalid`, so the device reaches the hub only by the rule for this name.
    let ran = run(["provision", "--messages", "1"], &variables).await;
    let (address, stderr) = (emulator.mqtt_addr(), ran.stderr_text());
    for host in ["localhost", "hub.invalid"] {
        let line = format!("connecting to {host}:8883 via {address}, HUBWARD_CONNECT_TO\n");
        assert!(stderr.contains(&line), "{stderr}");
    }
    assert_eq!((ran.code, stderr.lines().count()), (Some(0), 2), "{stderr}");

    // A typing error is a failed lookup, although the emulator runs.
    variables.push(("PROVISIONING_HOST", "dps.invalid".to_owned()));
    let ran = run(["provision", "--timeout", "3s"], &variables).await;
    let last = ran.last().expect("an error");
    assert_eq!((&last["exitCode"], &last["endpoint"]), (&json!(3), &json!("dps.invalid:8883")), "{last}");
    assert!(last.to_string().contains("`dps.invalid`"), "{last}");
    assert!(!ran.stderr_text().contains(" via "), "{}", ran.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_in_the_hint_of_operators() {
    let (emulator, enrolled) = cloud().await;
    let mut variables = enrolled.vars();
    let login = emulator.hub_connection_string("localhost").expect("the hub");
    variables.push(("IOTHUB_CONNECTION_STRING", login.replace("HostName=localhost", "HostName=hub.exmaple")));
    variables.push(("HUBWARD_CONNECT_TO", format!(":443:{}", emulator.https_addr())));
    let ran = run(["hub", "device-identity", "list"], &variables).await;
    let last = ran.last().expect("an error");
    assert_eq!((&last["exitCode"], &last["stage"]), (&json!(4), &json!("service-tls")), "{last}");
    let hint = last["hint"].as_str().expect("a hint");
    assert!(hint.starts_with("check the host name `hub.exmaple`") && hint.contains("emulator status"), "{last}");
}
