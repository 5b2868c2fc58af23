//! HTTP code that several interfaces share: reads bodies within limits, and sends responses.

mod body;
mod dps_response;
pub(super) mod request;
mod timed;

use crate::services::cloud::Cloud;

pub(super) use body::{Aborted, Pace, Paced, Reply, add_headers, is_json, reply, value};
#[cfg(feature = "admin")]
pub(super) use body::{Chunks, header};
pub(super) use dps_response::to_http;
pub(super) use timed::Timed;

/// Waits until all changes are on disk, and then returns `reply`. A crash therefore cannot undo a change that a
/// response has reported.
///
/// If the changes cannot be written, returns a response with status 503 instead.
pub(super) async fn flushed(cloud: &Cloud, reply: Result<Reply, Aborted>) -> Result<Reply, Aborted> {
    let reply = reply?;
    match cloud.store.flushed().await {
        Ok(()) => Ok(reply),
        Err(lost) => {
            let text = Paced::new(format!("{lost}\n"), Pace::AtOnce);
            Ok(self::reply(&cloud.clock, 503, "text/plain; charset=utf-8", text))
        }
    }
}
