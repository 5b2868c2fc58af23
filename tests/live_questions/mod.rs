//! Runs `cargo xtask live-questions` against an emulator in another process.

mod target;

use std::path::Path;
use std::time::Duration;

use hubward_tests::command::{Invocation, Ran};
use serde_json::{Value, json};
use target::Target;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::secrets::scanner::Scanner;

/// Maximum time of a run. All questions together take far less. The limit of the test runner is longer.
const LIMIT: Duration = Duration::from_secs(300);

fn program<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Invocation {
    Invocation::of(Path::new(env!("CARGO_BIN_EXE_live_questions"))).args(arguments)
}

fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("answers").to_str().expect("a path that is text").to_owned();
    (folder, path)
}

fn last_line(ran: &Ran) -> String {
    ran.stdout_text().lines().last().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_emulators_answer_twenty_questions_alike() {
    let (target, (_folder, out)) = (Target::start().await, folder());
    let before = target.resource_counts().await;
    let ran = program(["--out", &out]).vars(&target.variables).run_within(LIMIT).await;
    let output = format!("{}\n{}", ran.stdout_text(), ran.stderr_text());
    assert_eq!((ran.code, last_line(&ran).as_str()), (Some(0), "20 answers, 0 differences"), "{output}");
    assert_eq!(target.resource_counts().await, before, "the run deletes everything that it creates");

    let scanner = target.keys().into_iter().fold(Scanner::default(), |it, (name, key)| it.key(&name, &key));
    let mut written = output.into_bytes();
    for number in 1..=20 {
        for prefix in ["question", "emulator"] {
            let file = Path::new(&out).join(format!("{prefix}-{number:02}.json"));
            let text = std::fs::read(&file).expect("an answer");
            let answer: Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!((&answer["question"], &answer["stopped"]), (&json!(number), &Value::Null));
            let is_empty = |name: &str| answer[name].as_array().is_none_or(Vec::is_empty);
            assert!(!is_empty("observations") && !is_empty("exchanges"), "{}", file.display());
            written.extend(text);
        }
    }
    written.extend(std::fs::read(Path::new(&out).join("summary.md")).expect("a summary"));
    assert_eq!(scanner.find(&written), Vec::<String>::new());
    // The run also generates keys that the test does not know. So the test searches the output for text that looks like
    // a key.
    let written = String::from_utf8(written).expect("text");
    let of_base64 = |it: char| it.is_ascii_alphanumeric() || "+/=".contains(it);
    let key = written.split(|it| !of_base64(it)).find(|it| it.len() >= 44 && it.ends_with('='));
    assert_eq!(key, None);
    assert!(written.contains(r#"\"primaryKey\":\"<masked>\""#), "no key was masked");
    // The run sends a token with its requests. This check shows that the output contains the request with the token,
    // and that the run has masked the signature of the token.
    assert!(
        written.contains("Authorization: SharedAccessSignature sr=localhost&sig=<masked>"),
        "the output shows no login"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_reports_planted_differences() {
    let (target, (_folder, out)) = (Target::start().await, folder());
    target
        .fault(
            json!({ "point": "DpsService", "fault": { "kind": "Status", "status": 418, "code": 418007 }, "times": 2 }),
        )
        .await;
    target
        .fault(json!({ "point": "HubReported", "fault": { "kind": "Status", "status": 418 }, "times": "always" }))
        .await;
    let ran = program(["--only", "4,8", "--out", &out]).vars(&target.variables).run().await;
    let output = ran.stdout_text();
    assert_eq!(ran.code, Some(3), "{output}\n{}", ran.stderr_text());
    // The fault at `DpsService` happens twice: at the request with which the run checks the login, and at the first
    // request of question 4.
    //
    // The run also asks an emulator of its own, which has no fault. Its answer to the first request of question 4 has
    // another status and another shape. So the table has two rows for question 4.
    let rows: Vec<&str> = output.lines().filter(|it| it.starts_with("| 4 |")).collect();
    assert_eq!(rows.len(), 2, "{output}");
    assert!(rows[0].starts_with("| 4 | GET /enrollments/none | 418, code 418007 | "), "{output}");
    let rows: Vec<&str> = output.lines().filter(|it| it.starts_with("| 8 |")).collect();
    assert!(rows[0].starts_with("| 8 | a report over 32 KB: topic | $iothub/twin/res/418/?$rid=1 | "), "{output}");
    let count = output.lines().filter(|it| it.starts_with("| 4 |") || it.starts_with("| 8 |")).count();
    assert_eq!(last_line(&ran), format!("2 answers, {count} differences"));
    let summary = std::fs::read_to_string(Path::new(&out).join("summary.md")).expect("a summary");
    assert!(rows.iter().all(|it| summary.contains(it)), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_reports_a_question_that_it_cannot_ask() {
    let (target, (_folder, out)) = (Target::start().await, folder());
    let without_admin: Vec<_> =
        target.variables.iter().filter(|it| it.0 != "HUBWARD_EMULATOR_ADMIN").cloned().collect();
    let ran = program(["--only", "20", "--out", &out]).vars(&without_admin).run().await;
    let output = ran.stdout_text();
    assert_eq!((ran.code, last_line(&ran).as_str()), (Some(1), "1 answers, 0 differences"), "{output}");
    let line = "question 20, registryRead: GET /twins/D: not asked: needs IOTHUB_CONNECTION_STRING_REGISTRYREAD\n";
    assert!(output.contains(line), "{output}");

    let mut with_policies = without_admin;
    for (name, policy) in [("SERVICE", "service"), ("DEVICE", "device"), ("REGISTRYREAD", "registryRead")] {
        with_policies.push((format!("IOTHUB_CONNECTION_STRING_{name}"), target.connection_string(policy).await));
    }
    let name = "IOTHUB_CONNECTION_STRING_REGISTRYREADWRITE";
    with_policies.push((name.to_owned(), target.connection_string("registryReadWrite").await));
    let ran = program(["--only", "20", "--out", &out]).vars(&with_policies).run().await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout_text(), ran.stderr_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_deletes_what_it_created() {
    for reads_output in [true, false] {
        check_interruption(reads_output).await;
    }
}

async fn interrupt(child: &Child) {
    let id = child.id().expect("it runs").to_string();
    let sent = tokio::process::Command::new("kill").args(["-INT", &id]).status().await.expect("`kill` runs");
    assert!(sent.success(), "it runs");
}

async fn check_interruption(reads_output: bool) {
    let (target, (_folder, out)) = (Target::start().await, folder());
    let before = target.resource_counts().await;
    let mut child = program(["--only", "7", "--out", &out]).vars(&target.variables).spawn();
    target.wait_for_enrollment().await;
    if !reads_output {
        // The test closes its end of the pipe, like a program that reads from the pipe and ends early.
        drop(child.stdout.take());
    }
    interrupt(&child).await;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.expect("text") {
            output.push(line);
        }
    }
    let ended = child.wait().await.expect("it can be waited for");
    assert_eq!(ended.code(), Some(130), "{output:?}");
    assert_eq!(output.iter().any(|it| it.starts_with("Ctrl-C: deletes")), reads_output, "{output:?}");
    assert_eq!(target.resource_counts().await, before, "the run deletes everything that it creates");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_reports_what_it_cannot_delete() {
    let (target, (_folder, out)) = (Target::start().await, folder());
    let child = program(["--only", "7", "--out", &out]).vars(&target.variables).spawn();
    target.wait_for_enrollment().await;
    let fault = json!({ "kind": "Status", "status": 500, "code": 500001 });
    target.fault(json!({ "point": "DpsService", "fault": fault, "times": "always" })).await;
    let ended = child.wait_with_output().await.expect("it can be waited for");
    let stderr = String::from_utf8(ended.stderr).expect("text");
    let is_named = |it: &str| it.starts_with("not deleted: enrollment hwq-") && it.ends_with(": 500, code 500001");
    assert!(!stderr.is_empty() && stderr.lines().all(is_named), "{stderr}");
    assert_eq!(ended.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_service_needs_yes_and_valid_logins() {
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let login = |host: &str| format!("HostName={host};SharedAccessKeyName=owner;SharedAccessKey={key}");
    let variables = [
        ("IOTHUB_CONNECTION_STRING", login("hub.invalid")),
        ("PROVISIONING_CONNECTION_STRING", login("dps.invalid")),
        ("PROVISIONING_IDSCOPE", "0ne00000001".to_owned()),
    ];
    let (_folder, out) = folder();
    let ran = program(["--out", &out]).vars(&variables).run().await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr_text());
    assert!(ran.stderr_text().contains("add --yes"), "{}", ran.stderr_text());
    assert!(ran.stdout_text().contains("the hub hub.invalid and the DPS dps.invalid"), "{}", ran.stdout_text());
    assert!(!Path::new(&out).exists(), "the run does nothing");

    // The key belongs to another emulator. So this emulator refuses it.
    let (target, other) = (Target::start().await, Target::start().await);
    let login = other.variables.iter().find(|it| it.0 == "PROVISIONING_CONNECTION_STRING").expect("a login");
    let before = target.resource_counts().await;
    let variables: Vec<_> = target.variables.iter().chain([login]).cloned().collect();
    let ran = program(["--out", &out]).vars(&variables).run().await;
    let refused = "error: localhost refuses the login: 401, code 401002; check PROVISIONING_CONNECTION_STRING: policy, \
                   key, host\n";
    assert_eq!((ran.code, ran.stderr_text().as_str()), (Some(1), refused));
    assert_eq!(target.resource_counts().await, before);

    let ran = program(["--out", &out]).run().await;
    let missing = "error: IOTHUB_CONNECTION_STRING is not set";
    assert_eq!((ran.code, ran.stderr_text().lines().next()), (Some(2), Some(missing)));
}
