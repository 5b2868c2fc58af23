//! Advances the time of a cloud. For a live cloud the run waits, and for an emulator it moves the clock.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::http::{self, Reply};

/// The way in which the run advances the time of a cloud.
#[derive(Debug)]
pub(super) enum TimeControl {
    /// Waits.
    Real,
    /// The run moves the clock of an emulator through its admin port.
    Clock(Admin),
}

/// The admin port of an emulator.
#[derive(Debug)]
pub(super) struct Admin {
    /// `HOST:PORT`.
    address: String,
    /// A lock that is held while the run reads the clock and sets it.
    clock: Mutex<()>,
}

impl Admin {
    /// The admin port at `http://HOST:PORT`.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let address = url.trim_end_matches('/').strip_prefix("http://").filter(|it| it.contains(':'));
        let address = address.ok_or("HUBWARD_EMULATOR_ADMIN must look like http://127.0.0.1:8480")?.to_owned();
        Ok(Self { address, clock: Mutex::new(()) })
    }

    /// Sends one request.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply, String> {
        let stream = TcpStream::connect(&self.address).await;
        let stream = stream.map_err(|error| format!("cannot reach the admin port {}: {error}", self.address))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let reply = http::exchange(stream, request.as_bytes(), Duration::from_secs(30)).await;
        if reply.is_success() { Ok(reply) } else { Err(format!("the admin port answered {}", reply.summary())) }
    }

    async fn advance(&self, time: Duration) -> Result<(), String> {
        let _one_at_a_time = self.clock.lock().await;
        let now = self.ask("GET", "/api/clock", "").await?.json();
        let ahead = now["aheadSeconds"].as_u64().ok_or("the admin port does not tell its clock")?;
        let body = format!("{{\"aheadSeconds\":{}}}", ahead + time.as_secs());
        self.ask("POST", "/api/clock", &body).await.map(drop)
    }
}

impl TimeControl {
    /// Advances the time of the cloud.
    pub(super) async fn advance(&self, time: Duration) -> Result<(), String> {
        match self {
            Self::Real => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Self::Clock(admin) => admin.advance(time).await,
        }
    }

    /// Whether advancing the time means waiting.
    pub(super) const fn is_real(&self) -> bool {
        matches!(self, Self::Real)
    }
}
