//! The lines that docs/cli.md shows for trying a device with the emulator: they do what they say.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::device::device;
use super::running::{Running, variables};

/// What a shown `curl` line asks.
pub(super) struct Shown<'a> {
    method: &'a str,
    path: &'a str,
    if_match: bool,
    body: Option<&'a str>,
}

impl<'a> Shown<'a> {
    pub(super) fn read(line: &'a str) -> Option<Self> {
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

    /// Asks that; gives the answer's body.
    pub(super) async fn ask(&self, admin: &str) -> Value {
        let Self { method, path, .. } = self;
        let mut stream = TcpStream::connect(admin.trim_start_matches("http://")).await.expect("it listens");
        let body = self.body.unwrap_or_default();
        let if_match = if self.if_match { "If-Match: *\r\n" } else { "" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{if_match}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
        assert!(head.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_by_hand() {
    let page = include_str!("../../docs/cli.md");
    let section = page.split("## Try it with the emulator").nth(1).and_then(|it| it.split("\n## ").next());
    let requests: Vec<_> = section.expect("the section").lines().filter_map(Shown::read).collect();
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
        answers.push(request.ask(&admin).await);
    }
    assert_eq!(answers[0], json!({"status": 200, "payload": null}));
    assert_eq!(answers[3]["properties"]["reported"]["firmware"], "2.1");
    assert_eq!(answers[3]["properties"]["desired"]["interval"], 5);

    // Method, twin and message go different ways: in whatever order.
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
    for running in [running, emulator] {
        let (ended, _, stderr) = running.interrupt().await;
        assert_eq!((ended.code(), stderr.as_str()), (Some(0), ""));
    }
}
