//! HTTP for every door that speaks it: bodies within limits, responses and how they are sent.

mod answer;
mod body;
pub(super) mod request;
mod timed;

use crate::services::cloud::Cloud;

pub(super) use answer::to_http;
#[cfg(feature = "admin")]
pub(super) use body::{Chunks, header};
pub(super) use body::{Cut, Pace, Paced, Reply, add_headers, is_json, reply, value};
pub(super) use timed::Timed;

/// Delays a response until the changes that it reports are on disk. If they cannot be written, answers 503 instead.
pub(super) async fn settled(cloud: &Cloud, reply: Result<Reply, Cut>) -> Result<Reply, Cut> {
    let reply = reply?;
    match cloud.store.settled().await {
        Ok(()) => Ok(reply),
        Err(lost) => {
            let text = Paced::new(format!("{lost}\n"), Pace::AtOnce);
            Ok(self::reply(&cloud.clock, 503, "text/plain; charset=utf-8", text))
        }
    }
}
