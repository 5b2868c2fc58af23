//! Tests of devices with certificates, from one body.
//!
//! `dps` is a table of cases. Each case runs for each kind of enrollment and each transport: the real program registers
//! a device at an emulator of its own, and sends a message to the hub. Each outcome has a reason.
//!
//! `hub` is a table of logins at a hub, without DPS.

mod dps;
mod hub;
mod scene;
mod unchecked;

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;

use hubward_tests::report::{Endpoint, Expected, SUCCESS};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The device in every scene.
const DEVICE: &str = "dev-1";

/// The hub of the device.
const HUB: &str = "localhost";

/// This program refuses the certificate, and connects to no server.
const LOCAL: Expected = Expected {
    exit_code: 2,
    stage: Some("settings"),
    endpoint: Endpoint::None,
    fault: "request",
    hint: "--cert-file",
    ..SUCCESS
};

/// Runs the cells of a table, several at the same time. A cell is a name and a check. The failure message names every
/// cell that failed.
async fn run_cells<F>(cells: impl IntoIterator<Item = (String, F)>)
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    // Builds the program before the first cell needs it.
    let _ = hubward_tests::binary::hubward();
    // A cell keeps a core busy most of the time.
    let at_a_time = Arc::new(Semaphore::new(6));
    let mut runs = JoinSet::new();
    for (name, cell) in cells {
        let at_a_time = Arc::clone(&at_a_time);
        runs.spawn(async move {
            let _permit = at_a_time.acquire().await;
            // A task of its own: the failure message also names a cell that panics.
            let run = tokio::spawn(cell).await;
            (name, run.unwrap_or_else(|panicked| Err(format!("    {panicked}"))))
        });
    }
    let (mut wrong, mut count) = (String::new(), 0);
    while let Some(run) = runs.join_next().await {
        count += 1;
        if let (name, Err(problem)) = run.expect("the task of a cell does not panic") {
            let _ = writeln!(wrong, "{name}:\n{problem}");
        }
    }
    assert!(count > 0 && wrong.is_empty(), "of {count} cells, these are wrong:\n{wrong}");
}

/// A port to which the program must not connect.
struct ForbiddenPort(TcpListener);

impl ForbiddenPort {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        Self(listener)
    }

    /// The options with which the program connects to this port instead of an emulator, and gives up soon.
    fn arguments(&self) -> [String; 6] {
        let address = self.0.local_addr().expect("an address");
        let [mqtt, https] = [8883, 443].map(|port| format!("{HUB}:{port}:{address}"));
        ["--connect-to", &mqtt, "--connect-to", &https, "--timeout", "1s"].map(str::to_owned)
    }

    /// Checks that the program has not connected. Call this after the program has ended: the kernel accepts connections
    /// by itself, so a connection would be in the queue by then.
    fn check(&self) -> String {
        match self.0.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => String::new(),
            _ => "    expected no connection\n".to_owned(),
        }
    }
}

/// Checks that the hint of a refusal does not talk about a key: the device has a certificate.
fn check_hint(last: &serde_json::Value) -> String {
    let hint = last["hint"].as_str().unwrap_or_default();
    // `private key` belongs to a certificate.
    let names_key = hint.replace("private key", "").replace("--key-file", "").contains("key");
    if names_key { format!("    expected a hint without a symmetric key, got `{hint}`\n") } else { String::new() }
}
