//! Opens 10,000 connections to the emulator and keeps them idle.
//!
//! The emulator runs in one process. The program that opens the connections (`idle_connections`) runs in another
//! process. So the measured memory and file descriptors are those of the emulator alone.

use std::process::Stdio;
use std::time::Duration;

use hubward::{Message, Settings};
use hubward_tests::command::Invocation;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::http::get;

/// Number of idle connections. The process that opens the connections needs this number of file descriptors.
const IDLE_CONNECTIONS: usize = 10_000;

/// Maximum growth of the emulator's memory, in bytes, while `idle_connections` holds its 10,000 connections. These
/// connections do not log in. The emulator keeps at most 2,048 such connections: it closes the oldest one for each new
/// one.
const MAX_GROWTH: u64 = 100 * 1024 * 1024;

/// Maximum time that a client may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_device_works_beside_ten_thousand_silent_connections() {
    check_beside_idle_connections("nothing").await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_device_works_beside_ten_thousand_unfinished_handshakes() {
    check_beside_idle_connections("hello").await;
}

/// Checks that devices can connect and send while the program `idle_connections` holds its connections. `first_bytes`
/// says what the program sends on each connection at the start; after that, it sends nothing more.
#[expect(clippy::print_stdout, reason = "a manual run shows the figures")]
async fn check_beside_idle_connections(first_bytes: &str) {
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

    let device = settings.clone().connect().await.expect("the device connects before the idle connections");
    device.send(Message::new("before")).await.expect("acknowledged");
    let before = resident(&emulator);

    let mut opener = open_idle_connections(first_bytes, &ready);
    let mut opener_output = BufReader::new(opener.stdout.take().expect("a pipe")).lines();
    // The first device keeps sending while `idle_connections` opens its connections. Afterwards, more clients connect.
    let arrival = async { opener_output.next_line().await.expect("text").expect("all connections are open") };
    let sending = async {
        for _ in 0..100 {
            device.send(Message::new("meanwhile")).await.expect("acknowledged");
        }
    };
    let (arrived, ()) = tokio::join!(arrival, sending);
    assert_eq!(arrived, "ready");
    let during = resident(&emulator);
    // The clients below use the same device ID. If two of them were open, the hub would close the older one. So the
    // test closes each client before it opens the next one.
    device.close(CLOSE_TIMEOUT).await.expect("nothing is left to send");
    for transport in ["mqtt", "mqtt-ws"] {
        let late = settings.clone().transport(transport.parse().expect("a transport"));
        let late = late.clone().connect().await.expect("a device connects beside the idle connections");
        late.send(Message::new("late")).await.expect("acknowledged");
        late.close(CLOSE_TIMEOUT).await.expect("nothing is left to send");
    }
    let admin = ready["admin"].as_str().expect("a URL");
    assert!(get(admin, "/health").await.contains("\"status\":\"ok\""));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", id(&emulator))).expect("the emulator runs").count();

    drop(opener.stdin.take());
    assert!(opener.wait().await.expect("the exit status of `idle_connections`").success());
    let after = resident(&emulator);
    println!(
        "{IDLE_CONNECTIONS} connections, {first_bytes}: resident {before} B before, {during} B during \
         ({descriptors} descriptors), {after} B after"
    );
    assert!(during < before + MAX_GROWTH, "{before} B before, {during} B during");
    assert!(descriptors < IDLE_CONNECTIONS / 3, "{descriptors} descriptors");
}

fn open_idle_connections(first_bytes: &str, ready: &Value) -> Child {
    let addresses = ["mqtt", "https"].map(|it| ready[it][0].as_str().expect("an address").to_owned());
    let mut command = Command::new(env!("CARGO_BIN_EXE_idle_connections"));
    command.arg(IDLE_CONNECTIONS.to_string()).arg(first_bytes).args(addresses);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("`idle_connections` starts")
}

fn id(process: &Child) -> u32 {
    process.id().expect("the process runs")
}

/// Resident memory of a process in bytes.
fn resident(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", id(process))).expect("the process runs");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("the resident memory");
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kilobytes * 1024
}
