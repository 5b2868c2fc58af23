//! The HTTP listeners: the HTTPS port with the service APIs, DPS and WebSocket upgrades, and the admin port.

#[cfg(feature = "admin")]
mod admin;
mod body;
mod https;
mod origin;
pub(crate) mod request;
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

/// Delays a response until the changes that it reports are on disk. If they cannot be written, answers 503 instead.
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
