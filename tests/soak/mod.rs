//! Tests of clients that run for a long time. The tests cover thousands of cancellations and connections, token
//! renewals, and connections that fail without being closed.
//!
//! By default each test runs for a short time. With the variables below, a test runs longer. The tests print their
//! measurements to stdout:
//!
//! ```text
//! HUBWARD_SOAK_TOKEN_SECONDS=60 cargo test -p hubward-tests --test suite soak::renewals -- --nocapture
//! HUBWARD_SOAK_HOLD_SECONDS=25  cargo test -p hubward-tests --test suite soak::links -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "the tests print measurements")]

mod cancellations;
mod cycles;
mod duplicates;
mod links;
mod proxy;
mod renewals;

use std::time::Duration;

use hubward::TransportKind;

/// The two transports that reach a hub.
const TRANSPORTS: [TransportKind; 2] = [TransportKind::Mqtt, TransportKind::MqttWs];

/// Returns the number of seconds in a variable. Returns `short` if the variable is not set.
fn seconds(variable: &str, short: f64) -> Duration {
    let given = std::env::var(variable).ok().map(|it| it.parse().expect("a number of seconds"));
    Duration::from_secs_f64(given.unwrap_or(short))
}
