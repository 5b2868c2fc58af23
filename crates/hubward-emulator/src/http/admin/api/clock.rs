//! `GET` and `POST /api/clock`: the emulator's clock, which can be ahead of the system's clock.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use crate::clock::{MOST_AHEAD, timestamp};
use crate::shared::Shared;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    ahead_seconds: u64,
}

pub(super) fn show(shared: &Shared) -> Value {
    json!({ "aheadSeconds": shared.clock.ahead().as_secs(), "time": timestamp(shared.clock.now()) })
}

pub(super) fn set(shared: &Shared, body: Body) -> Result<Value, Failure> {
    if body.ahead_seconds > MOST_AHEAD.as_secs() {
        return Err(Failure::wrong("aheadSeconds must be 0 to 3155760000 (100 years)."));
    }
    shared.move_clock(Duration::from_secs(body.ahead_seconds));
    Ok(show(shared))
}
