//! What only shows after a while: cancellations, connections and renewals by the thousand, links that
//! die in silence.
//!
//! Each runs briefly here; the variables below make it longer, and figures stand on stdout:
//!
//! ```text
//! HUBWARD_SOAK_TOKEN_SECONDS=60 cargo test -p hubward-tests --test suite soak::renewals -- --nocapture
//! HUBWARD_SOAK_HOLD_SECONDS=25  cargo test -p hubward-tests --test suite soak::links -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "the figures are for whoever asks for them")]

mod cancellations;
mod cycles;
mod duplicates;
mod links;
mod proxy;
mod renewals;

use std::time::Duration;

use hubward::TransportKind;

/// Both transports that reach a hub.
const TRANSPORTS: [TransportKind; 2] = [TransportKind::Mqtt, TransportKind::MqttWs];

/// Seconds that a variable gives, else those of a short run.
fn seconds(variable: &str, short: f64) -> Duration {
    let given = std::env::var(variable).ok().map(|it| it.parse().expect("a number of seconds"));
    Duration::from_secs_f64(given.unwrap_or(short))
}
