//! `hubward emulator` in a process of its own, and its admin port.

use hubward::SharedKey;
use hubward_tests::command::Invocation;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

/// Ends with the value.
pub(super) struct Target {
    /// As `hubward emulator env` prints them.
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

    /// The keys that no file may show.
    pub(super) fn keys(&self) -> Vec<(String, SharedKey)> {
        let of_policy = |name: &str| {
            let (_, key) = self.variable(name).split_once("SharedAccessKey=").expect("a connection string");
            (name.to_owned(), SharedKey::from_base64(key).expect("a key"))
        };
        vec![of_policy("IOTHUB_CONNECTION_STRING"), of_policy("PROVISIONING_CONNECTION_STRING")]
    }

    /// How many devices, enrollments and so on exist.
    pub(super) async fn things(&self) -> Value {
        let status = self.ask("GET", "/api/status", "").await;
        let hub = &status["hubs"][0];
        serde_json::json!([status["dps"], hub["devices"], hub["modules"], hub["connected"]])
    }

    /// The connection string of a policy of the hub.
    pub(super) async fn connection_string(&self, policy: &str) -> String {
        let keys = self.ask("GET", "/api/keys", "").await;
        let found = keys["policies"].as_array().into_iter().flatten().find(|it| it["policy"] == policy);
        found.and_then(|it| it["connectionString"].as_str()).expect("a policy").to_owned()
    }

    /// Scripts a fault.
    pub(super) async fn fault(&self, fault: Value) {
        self.ask("POST", "/api/faults", &fault.to_string()).await;
    }

    /// Waits until an enrollment of a run is created.
    pub(super) async fn created(&self) {
        let stream = self.send("GET", "/api/events?kind=enrollmentCreated", "").await;
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.expect("a stream of text") {
            if line.contains("\"id\":\"hwq-") {
                return;
            }
        }
        panic!("the stream of events ends");
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut answer = String::new();
        let mut stream = self.send(method, path, body).await;
        stream.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
        serde_json::from_str(body).expect("JSON")
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let address = self.variable("HUBWARD_EMULATOR_ADMIN").trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.expect("it reads");
        stream
    }
}
