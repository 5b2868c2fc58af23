//! Ten thousand connections that are opened and left alone.
//!
//! Emulator, crowd and devices are three processes; the memory that is looked at is the emulator's.

use std::process::Stdio;
use std::time::Duration;

use hubward::{Message, Settings, connect};
use hubward_tests::command::Invocation;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How many; the process that opens them needs as many file descriptors.
const CROWD: usize = 10_000;

/// Most bytes that the emulator may grow by while they are there: 2,048 of them are let in at a time.
const GROWTH: u64 = 100 * 1024 * 1024;

/// For a goodbye.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_silent_connections_harm_nobody() {
    crowded("nothing").await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_handshakes_harm_nobody() {
    crowded("hello").await;
}

#[expect(clippy::print_stdout, reason = "the figures are what one runs it for by hand")]
async fn crowded(begin: &str) {
    let mut emulator = Invocation::hubward([
        "emulator",
        "--in-memory",
        "--dev-keys",
        "--output",
        "json",
        "--retry-after",
        "0s",
        "--mqtt-port",
        "0",
        "--https-port",
        "0",
        "--admin-port",
        "0",
    ])
    .spawn();
    let mut lines = BufReader::new(emulator.stdout.take().expect("a pipe")).lines();
    let mut line = async || -> Value {
        let line = lines.next_line().await.expect("text").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    let ready = line().await;
    let device = line().await;
    assert_eq!((&ready["type"], &device["type"]), (&json!("ready"), &json!("device")));
    let settings = Settings::from_vars(|name| device["variables"][name].as_str().map(str::to_owned)).expect("settings");

    let steady = connect(&settings).await.expect("a healthy device");
    steady.send(Message::new("before")).await.expect("acknowledged");
    let before = resident(&emulator);

    let mut crowd = crowd(begin, &ready);
    let mut said = BufReader::new(crowd.stdout.take().expect("a pipe")).lines();
    // It goes on while they come, and so does who connects only now.
    let arrival = async { said.next_line().await.expect("text").expect("they have come") };
    let sending = async {
        for _ in 0..100 {
            steady.send(Message::new("meanwhile")).await.expect("acknowledged");
        }
    };
    let (arrived, ()) = tokio::join!(arrival, sending);
    assert_eq!(arrived, "here");
    let during = resident(&emulator);
    // The same device: two of it would take over from each other.
    steady.close(PATIENCE).await.expect("nothing is left to send");
    for transport in ["mqtt", "mqtt-ws"] {
        let late = settings.clone().transport(transport.parse().expect("a transport"));
        let late = connect(&late).await.expect("a device that comes late");
        late.send(Message::new("late")).await.expect("acknowledged");
        late.close(PATIENCE).await.expect("nothing is left to send");
    }
    assert!(health(&ready).await.contains("\"status\":\"ok\""));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", id(&emulator))).expect("it runs").count();

    drop(crowd.stdin.take());
    assert!(crowd.wait().await.expect("it ends").success());
    let after = resident(&emulator);
    println!(
        "{CROWD} connections, {begin}: resident {before} B before, {during} B during ({descriptors} descriptors), \
         {after} B after"
    );
    assert!(during < before + GROWTH, "{before} B before, {during} B during");
    assert!(descriptors < CROWD / 3, "{descriptors} descriptors");
}

fn crowd(begin: &str, ready: &Value) -> Child {
    let addresses = ["mqtt", "https"].map(|it| ready[it][0].as_str().expect("an address").to_owned());
    let mut command = Command::new(env!("CARGO_BIN_EXE_crowd"));
    command.arg(CROWD.to_string()).arg(begin).args(addresses);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts")
}

async fn health(ready: &Value) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let admin = ready["admin"].as_str().expect("a URL").trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(admin).await.expect("it listens");
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

fn id(process: &Child) -> u32 {
    process.id().expect("it runs")
}

/// Resident memory in bytes.
fn resident(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", id(process))).expect("it runs");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("its memory");
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024
}
