//! Runs the lines of the section "Try it with the emulator" in docs/cli.md, and checks that they have the documented
//! effects.

use hubward_tests::command::without_rule_notes;
use serde_json::{Value, json};

use super::device::device;
use super::http::send;
use super::running::{Running, variables};

/// A request that docs/cli.md shows as a `curl` line.
pub(super) struct CurlLine<'a> {
    method: &'a str,
    path: &'a str,
    if_match: bool,
    body: Option<&'a str>,
}

impl<'a> CurlLine<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_prefix("curl ")?;
        let path = line.split("$admin").nth(1)?.split_whitespace().next()?;
        let body = line.split("-d '").nth(1).map(|it| it.trim_end_matches('\''));
        assert_eq!(line.contains("-H \"$json\""), body.is_some(), "{line}");
        let method = match line.strip_prefix("-X ").and_then(|it| it.split_whitespace().next()) {
            Some(method) => method,
            None if body.is_some() => "POST",
            None => "GET",
        };
        Some(Self { method, path, if_match: line.contains("-H 'If-Match: *'"), body })
    }

    /// Sends the request. Returns the body of the response.
    pub(super) async fn send(&self, admin: &str) -> Value {
        let request = format!("{} {}", self.method, self.path);
        let if_match = if self.if_match { "If-Match: *\r\n" } else { "" };
        let body: Option<Value> = self.body.map(|it| serde_json::from_str(it).expect(it));
        let (status, body) = send(admin, &request, if_match, body.as_ref()).await.expect("a response");
        assert!((200..210).contains(&status), "{request}: {status} {body}");
        body
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_requests_reach_the_device() {
    let page = include_str!("../../docs/cli.md");
    let section = page.split("## Try it with the emulator").nth(1).and_then(|it| it.split("\n## ").next());
    let requests: Vec<_> = section.expect("the section").lines().filter_map(CurlLine::parse).collect();
    assert_eq!(requests.len(), 4);

    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data").to_str().expect("text").to_owned();
    let mut emulator = Running::emulator(&data_dir, ["--dev-keys", "--output", "json"]);
    let admin = emulator.json().await["admin"].as_str().expect("a URL").to_owned();
    let variables = variables(&emulator.json().await);
    let variables: Vec<(&str, String)> = variables.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let arguments = ["run", "--method", "ping=200", "--report", r#"{"firmware": "2.1"}"#];
    let mut running = Running::start(device("mqtt", &arguments, &variables));
    running.json_until("desired").await;

    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.send(&admin).await);
    }
    assert_eq!(answers[0], json!({"status": 200, "payload": null}));
    assert_eq!(answers[3]["properties"]["reported"]["firmware"], "2.1");
    assert_eq!(answers[3]["properties"]["desired"]["interval"], 5);

    // The device may print the lines about the method, the twin and the message in any order.
    let mut missing = vec![
        ("call", json!({"method": "ping", "payload": 1})),
        ("desired", json!({"properties": {"interval": 5}})),
        ("received", json!({"body": "open the valve", "properties": {"urgent": "yes"}})),
    ];
    while !missing.is_empty() {
        let line = running.json().await;
        missing.retain(|(kind, fields)| {
            let fits = |(name, value): (&String, &Value)| &line[name] == value;
            line["type"] != *kind || !fields.as_object().expect("fields").iter().all(fits)
        });
    }
    let (ended, _, stderr) = running.interrupt().await;
    assert_eq!((ended.code(), without_rule_notes(&stderr).as_str()), (Some(0), ""));
    let (ended, _, stderr) = emulator.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{stderr}");
    let is_event = |line: &str| line.contains(" dps registered ") || line.contains(" hub ");
    assert!(stderr.lines().all(is_event), "only the lines about the device: {stderr}");
}
