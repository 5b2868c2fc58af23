//! `GET /api/traffic`: returns how many messages the hubs received and how many connections were open, over the last
//! half hour.

use serde_json::{Value, json};

use crate::services::cloud::Cloud;
use crate::state::clock::{system_now, timestamp};
use crate::state::traffic::INTERVAL;

/// The lists `messages` and `connections` have one value for each interval, oldest first. `end` is the time at which
/// the last interval ended, by the system's clock.
pub(super) fn show(cloud: &Cloud) -> Value {
    let complete = cloud.traffic.complete();
    json!({
        "intervalSeconds": INTERVAL.as_secs(),
        "end": timestamp(system_now() - cloud.traffic.since_complete()),
        "messages": complete.iter().map(|it| it.messages).collect::<Vec<_>>(),
        "connections": complete.iter().map(|it| it.connections).collect::<Vec<_>>(),
    })
}
