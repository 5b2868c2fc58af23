//! HTTP: the HTTPS port with DPS and WebSocket upgrades, and the admin port.

#[cfg(feature = "admin")]
mod admin;
mod body;
mod https;
pub(crate) mod request;
mod stranger;
#[cfg(feature = "admin")]
mod telemetry;
mod timed;
mod websocket;

use crate::shared::Shared;
#[cfg(feature = "admin")]
pub(crate) use admin::{Admin, Guard};
#[cfg(feature = "admin")]
pub(crate) use body::{Chunks, header};
pub(crate) use body::{Cut, Pace, Paced, Reply, add_headers, is_json, reply, value};

/// Keeps an answer back until what it tells of is on disk. If that fails, nothing is acknowledged.
async fn settled(shared: &Shared, reply: Result<Reply, Cut>) -> Result<Reply, Cut> {
    let reply = reply?;
    match shared.store.settled().await {
        Ok(()) => Ok(reply),
        Err(lost) => {
            let text = Paced::new(format!("{lost}\n"), Pace::AtOnce);
            Ok(self::reply(&shared.clock, 503, "text/plain; charset=utf-8", text))
        }
    }
}
pub(crate) use https::serve;
