//! `GET` and `POST /api/clock`: read and set the emulator's clock, which can be ahead of the system's clock.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;
use crate::services::cloud::Cloud;
use crate::services::maintenance;
use crate::state::clock::{MAX_AHEAD, timestamp};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    ahead_seconds: u64,
}

pub(super) fn show(cloud: &Cloud) -> Value {
    json!({ "aheadSeconds": cloud.clock.ahead().as_secs(), "time": timestamp(cloud.clock.now()) })
}

pub(super) fn set(cloud: &Cloud, body: Body) -> Result<Value, Failure> {
    if body.ahead_seconds > MAX_AHEAD.as_secs() {
        return Err(Failure::wrong("aheadSeconds must be 0 to 3155760000 (100 years)."));
    }
    maintenance::move_clock(cloud, Duration::from_secs(body.ahead_seconds));
    Ok(show(cloud))
}
