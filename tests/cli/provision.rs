//! `hubward provision` when the services report no errors. The tests in `refusals` cover errors.

use hubward_emulator::{Fault, Point};
use hubward_tests::command::Invocation;
use serde_json::json;

use super::running::Running;
use super::{cloud, transports};

#[tokio::test(flavor = "multi_thread")]
async fn prints_each_step_as_a_json_line() {
    let (emulator, enrolled) = cloud().await;
    for transport in transports() {
        let arguments = ["provision", "--transport", transport, "--messages", "3", "--output", "json"];
        let ran = Invocation::hubward(arguments).vars(&enrolled.vars()).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        let types: Vec<_> = lines.iter().filter_map(|it| it["type"].as_str()).collect();
        assert_eq!(
            (types[..3].to_vec(), types.len()),
            (vec!["provisioning", "assigned", "connected"], 10),
            "{types:?}"
        );
        let port = if transport == "mqtt" { 8883 } else { 443 };
        assert_eq!(lines[0]["endpoint"], format!("localhost:{port}"));
        assert_eq!(lines[1]["assignedHub"], "localhost");
        assert_eq!(lines[1]["deviceId"], "dev-1");
        let last = ran.last().expect("a result");
        assert_eq!((&last["messages"], &last["acknowledged"]), (&json!(3), &json!(3)));
    }
    // Each of the three runs has sent three messages with the default bodies, so the hub has each body three times.
    let log = emulator.telemetry("localhost").expect("the hub");
    let bodies: Vec<_> = log.all().into_iter().map(|it| it.message.body.to_vec()).collect();
    assert_eq!(bodies.len(), 9);
    for body in [&b"test wind speed 1"[..], b"test wind speed 2", b"test wind speed 3"] {
        assert_eq!(bodies.iter().filter(|it| *it == body).count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_take_precedence_over_variables() {
    let (emulator, enrolled) = cloud().await;
    let other = emulator.enroll("dev-2").expect("a valid id");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    // Editors end the file with a line break.
    std::fs::write(&file, format!("{}\n", other.primary_key().expose_base64().as_str())).expect("a file");
    let file = file.to_str().expect("a path that is text");
    let mut variables = enrolled.vars();
    variables.push(("HUBWARD_TRANSPORT", "mqtt-ws".to_owned()));
    let arguments = ["provision", "--registration-id", "dev-2", "--symmetric-key-file", file, "--output", "json"];
    let ran = Invocation::hubward(arguments).vars(&variables).run().await;
    let lines = ran.lines().expect("lines");
    assert_eq!((&lines[0]["transport"], &lines[1]["deviceId"]), (&json!("mqtt-ws"), &json!("dev-2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_a_payload_and_prints_the_returned_payload() {
    let (emulator, _) = cloud().await;
    let returned = json!({"floor": 3});
    let enrolled = emulator.enrollment("dev-3").payload(returned.clone()).create().expect("an enrollment");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("payload.json");
    std::fs::write(&file, r#"{"from": "a file"}"#).expect("a file");
    for (argument, sent) in [
        (r#"{"serial": "é-1"}"#.to_owned(), json!({"serial": "é-1"})),
        (format!("@{}", file.display()), json!({"from": "a file"})),
    ] {
        let arguments = ["provision", "--payload", &argument, "--output", "json"];
        let ran = Invocation::hubward(arguments).vars(&enrolled.vars()).run().await;
        assert_eq!(ran.last().expect("a result")["payload"], returned);
        assert_eq!(emulator.received_payload("dev-3"), Some(sent));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_the_body_from_a_file() {
    let (emulator, enrolled) = cloud().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("body");
    let body: Vec<u8> = (0..=255).collect();
    std::fs::write(&file, &body).expect("a file");
    let file = file.to_str().expect("a path that is text");
    let arguments = ["provision", "--messages", "2", "--body-file", file];
    let ran = Invocation::hubward(arguments).vars(&enrolled.vars()).run().await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr_text());
    let arrived = emulator.telemetry("localhost").expect("the hub").all();
    assert_eq!(arrived.len(), 2);
    assert!(arrived.iter().all(|it| it.message.body[..] == body[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_provision_with_exit_code_130() {
    let (emulator, enrolled) = cloud().await;
    emulator.fault_always(Point::DpsRegister, Fault::Never).expect("a valid fault");
    for output in ["json", "text"] {
        let mut running = Running::start(Invocation::hubward(["provision", "--output", output]).vars(&enrolled.vars()));
        let _first = running.line().await.expect("a line about the registration");
        let (ended, rest, stderr) = running.interrupt().await;
        assert_eq!(ended.code(), Some(130), "{rest}{stderr}");
        if output == "json" {
            let last: serde_json::Value = serde_json::from_str(&rest).expect(&rest);
            let facts = (&last["type"], &last["stage"], &last["exitCode"]);
            assert_eq!(facts, (&json!("error"), &json!("interrupted"), &json!(130)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_error_names_the_cause_the_place_and_the_remedy() {
    let (_emulator, enrolled) = cloud().await;
    let arguments = ["provision", "--transport", "https", "--id-scope", "0ne00FFFFFF"];
    let ran = Invocation::hubward(arguments).vars(&enrolled.vars()).run().await;
    let text = ran.stderr_text();
    assert_eq!(ran.code, Some(6));
    for part in [
        "error: ",
        "\n  where: stage dps-register, endpoint localhost:443",
        "service code 404201",
        "tracking id ",
        "\n  hint: check the id scope",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!ran.stdout_text().contains("error"), "{}", ran.stdout_text());
}

#[tokio::test]
async fn empty_variables_count_as_unset_and_invalid_ones_are_named() {
    let derive = |variables: &'static [(&'static str, &'static str)]| {
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Invocation::hubward(["sas", "derive-key", "--registration-id", "a", "--group-key-file", "-"])
            .vars(&variables)
            .stdin("AAECAwQFBgcICQoLDA0ODw==")
            .run()
    };
    let empty = derive(&[("HUBWARD_OUTPUT", ""), ("HUBWARD_LOG", ""), ("HUBWARD_DATA_DIR", "")]).await;
    assert_eq!((empty.code, empty.stdout_text().lines().count()), (Some(0), 1), "{}", empty.stderr_text());
    for (variables, named) in [
        (&[("HUBWARD_OUTPUT", "xml")] as &[_], "HUBWARD_OUTPUT: `xml` is not one of text, json, table, tsv"),
        (&[("HUBWARD_LOG", "bogus")], "--log bogus: this is neither a level nor a filter"),
    ] {
        let wrong = derive(variables).await;
        assert_eq!(wrong.code, Some(2));
        assert!(wrong.stderr_text().contains(named), "{}", wrong.stderr_text());
    }
}
