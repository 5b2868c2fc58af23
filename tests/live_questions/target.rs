//! `hubward emulator` in another process, and its admin port.

use hubward::SharedKey;
use hubward_tests::command::Invocation;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::cli::http::send;

/// A running emulator. Dropping the value ends it.
pub(super) struct Target {
    /// The variables that `hubward emulator env` prints.
    pub(super) variables: Vec<(String, String)>,
    _emulator: Child,
    _data: TempDir,
}

impl Target {
    pub(super) async fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let data_dir = data.path().join("data").to_str().expect("a path that is text").to_owned();
        let ports =
            ["--mqtt-port", "0", "--https-port", "0", "--admin-port", "0", "--output", "json", "--retry-after", "0s"];
        let mut emulator = Invocation::hubward(["emulator", "--data-dir", &data_dir]).args(ports).spawn();
        let mut lines = BufReader::new(emulator.stdout.take().expect("a pipe")).lines();
        let mut variables = Vec::new();
        for _ in ["ready", "device", "operator"] {
            let line = lines.next_line().await.expect("text").expect("a line");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            let members = line["variables"].as_object().into_iter().flatten();
            variables
                .extend(members.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())));
        }
        Self { variables, _emulator: emulator, _data: data }
    }

    fn variable(&self, name: &str) -> &str {
        &self.variables.iter().find(|it| it.0 == name).expect(name).1
    }

    /// The keys that must not appear in any file.
    pub(super) fn keys(&self) -> Vec<(String, SharedKey)> {
        let of_policy = |name: &str| {
            let (_, key) = self.variable(name).split_once("SharedAccessKey=").expect("a connection string");
            (name.to_owned(), SharedKey::from_base64(key).expect("a key"))
        };
        vec![of_policy("IOTHUB_CONNECTION_STRING"), of_policy("PROVISIONING_CONNECTION_STRING")]
    }

    /// Returns the number of devices, enrollments and other resources.
    pub(super) async fn resource_counts(&self) -> Value {
        let status = self.request("GET /api/status", None).await;
        let hub = &status["hubs"][0];
        assert!(status["dps"].is_object() && hub.is_object(), "{status}");
        serde_json::json!([status["dps"], hub["devices"], hub["modules"], hub["connected"]])
    }

    /// The connection string of a policy of the hub.
    pub(super) async fn connection_string(&self, policy: &str) -> String {
        let keys = self.request("GET /api/keys", None).await;
        let found = keys["policies"].as_array().into_iter().flatten().find(|it| it["policy"] == policy);
        found.and_then(|it| it["connectionString"].as_str()).expect("a policy").to_owned()
    }

    /// Scripts a fault.
    pub(super) async fn fault(&self, fault: Value) {
        self.request("POST /api/faults", Some(&fault)).await;
    }

    /// Waits until a run has created an enrollment.
    pub(super) async fn wait_for_enrollment(&self) {
        let mut stream = TcpStream::connect(self.admin().trim_start_matches("http://")).await.expect("the admin port");
        let request = b"GET /api/events?kind=enrollmentCreated HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.expect("the admin port reads");
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.expect("a stream of text") {
            if line.contains("\"id\":\"hwq-") {
                return;
            }
        }
        panic!("the stream of events ended before a run created an enrollment");
    }

    async fn request(&self, request: &str, body: Option<&Value>) -> Value {
        let (status, answer) = send(self.admin(), request, "", body).await.expect("an answer of the admin port");
        assert!((200..300).contains(&status), "{request}: {status} {answer}");
        answer
    }

    fn admin(&self) -> &str {
        self.variable("HUBWARD_EMULATOR_ADMIN")
    }
}
