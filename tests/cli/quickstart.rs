//! `hubward quickstart`, with and without `--keep`.

use std::path::Path;

use super::device::types;
use super::running::{Running, variables};
use super::transports;
use hubward_tests::command::Invocation;

#[tokio::test(flavor = "multi_thread")]
async fn works_over_every_transport_and_leaves_nothing_behind() {
    for transport in transports() {
        let ran = Invocation::hubward(["quickstart", "--transport", transport, "--output", "json"]).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        let types = types(&lines);
        assert_eq!(types.len(), 26, "{transport}: {types:?}");
        let (first, rest) = types.split_at(4);
        assert_eq!(first, ["device", "provisioning", "assigned", "connected"], "{transport}");
        let count = |kind: &str| rest.iter().filter(|it| **it == kind).count();
        assert_eq!((count("sending"), count("sent")), (10, 10), "{transport}");
        assert_eq!(rest[20..], ["registry", "result"], "{transport}");
        assert_eq!(lines[1]["transport"], transport);
        let (registry, result) = (&lines[24], &lines[25]);
        assert_eq!(registry["status"], "enabled");
        assert_eq!((&result["acknowledged"], &result["messages"]), (&10.into(), &10.into()));
        assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{transport}");
        let device = variables(&lines[0]);
        let (_, ca_file) = device.iter().find(|(name, _)| name == "HUBWARD_CA_FILE").expect("a CA file");
        assert!(!Path::new(ca_file).exists(), "{ca_file} still exists");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_works_over_every_transport_and_leaves_nothing_behind() {
    for transport in transports() {
        let arguments = ["quickstart", "--x509", "--transport", transport, "--output", "json"];
        let ran = Invocation::hubward(arguments).run().await;
        let lines = ran.lines().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        let types = types(&lines);
        assert_eq!(types[..8], ["step", "step", "step", "step", "step", "device", "provisioning", "assigned"]);
        for (line, number) in lines.iter().zip(1..=5) {
            assert_eq!((&line["step"], line["text"].is_string()), (&number.into(), true), "{line}");
        }
        let result = lines.last().expect("a result");
        assert_eq!((&result["acknowledged"], &result["messages"]), (&10.into(), &10.into()), "{transport}");
        assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{transport}");
        let device = variables(&lines[5]);
        assert!(!device.iter().any(|(name, _)| name == "PROVISIONING_SYMMETRIC_KEY"), "{device:?}");
        for name in ["X509_CERT_FILE", "X509_KEY_FILE"] {
            let (_, file) = device.iter().find(|(it, _)| it == name).expect(name);
            assert!(!Path::new(file).exists(), "{file} still exists");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_with_a_certificate_is_one_line() {
    let ran = Invocation::hubward(["quickstart", "--x509"]).run().await;
    let text = ran.stdout_text();
    assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{text}");
    for (line, number) in text.lines().zip(1..=5) {
        assert!(line.starts_with(&format!("{number}. ")) && line.ends_with('.'), "{line}");
    }
    let (_, next) = text.split_once("\nWhat to try next:\n").expect("the next steps");
    assert!(next.contains("hubward x509 new-ca"), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_the_steps_of_the_walkthrough() {
    let ran = Invocation::hubward(["quickstart"]).run().await;
    let text = ran.stdout_text();
    assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    for name in [
        "PROVISIONING_HOST=localhost",
        "PROVISIONING_IDSCOPE=",
        "PROVISIONING_REGISTRATION_ID=",
        "PROVISIONING_SYMMETRIC_KEY=",
    ] {
        assert!(lines.iter().any(|it| it.trim().starts_with(name)), "no {name} in\n{text}");
    }
    assert!(lines.contains(&"The complete registration result is"), "{text}");
    for number in 1..=10 {
        let (sending, done) = (format!("sending message #{number}"), format!("done sending message #{number}"));
        let at = |line: &str| lines.iter().position(|it| *it == line).unwrap_or_else(|| panic!("no `{line}`"));
        assert!(at(&sending) < at(&done), "{text}");
    }
    assert!(text.contains("dev-1 is enabled in the registry of localhost"), "{text}");
    let (_, next) = text.split_once("\n10 of 10 messages acknowledged\n\nWhat to try next:\n").expect("the next steps");
    for line in next.lines() {
        let (command, what_for) = line.split_once('#').unwrap_or_else(|| panic!("{line}"));
        assert!(!what_for.trim().is_empty(), "{line}");
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("hubward"), "{line}");
        // Each command exists, and accepts its options.
        let ran = Invocation::hubward(words).args(["--help"]).run().await;
        assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(0), ""), "{line}");
    }
    assert_eq!(next.lines().count(), 4, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_leaves_the_emulator_running_until_ctrl_c() {
    let mut kept = Running::start(Invocation::hubward(["quickstart", "--keep", "--output", "json"]));
    let lines = kept.json_until("result").await;
    let device = variables(&lines[0]);
    for transport in transports() {
        let arguments = ["provision", "--transport", transport, "--messages", "2", "--output", "json"];
        let ran = Invocation::hubward(arguments).vars(&device).run().await;
        let last = ran.last().unwrap_or_else(|problem| panic!("{transport}: {problem}"));
        assert_eq!((&last["type"], &last["acknowledged"]), (&"result".into(), &2.into()), "{last}");
    }
    let (ended, rest, stderr) = kept.interrupt().await;
    assert_eq!((ended.code(), rest.as_str(), stderr.as_str()), (Some(0), "", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_prints_how_to_use_the_emulator() {
    let mut kept = Running::start(Invocation::hubward(["quickstart", "--keep"]));
    let text = kept.text_until("# then: hubward provision").await;
    assert!(text.contains("export PROVISIONING_SYMMETRIC_KEY='"), "{text}");
    let (ended, ..) = kept.interrupt().await;
    assert_eq!(ended.code(), Some(0));
}
