//! Follows the desired properties until Ctrl-C, and reports the values that it applied.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{HubClient, Settings};
use serde::Deserialize;
use serde_json::json;

/// The desired properties that this program understands. A field is `None` if the cloud has not set the property.
#[derive(Deserialize)]
struct Wanted {
    interval: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Settings::from_env()?.connect().await?;
    tokio::select! {
        result = follow(&hub) => result?,
        signal = tokio::signal::ctrl_c() => signal?,
    }
    hub.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn follow(hub: &HubClient) -> Result<(), Box<dyn std::error::Error>> {
    let mut desired = hub.desired()?;
    loop {
        // The first call returns the current state. Each later call returns a newer state, including changes made while
        // the device was not connected.
        let properties = desired.changed().await?;
        match properties.read::<Wanted>() {
            Ok(Wanted { interval }) => {
                println!("version {}: interval {interval:?}", properties.version);
                let reported = hub.report(&json!({ "interval": interval, "problem": null })).await?;
                println!("reported, version {}", reported.version.unwrap_or_default());
            }
            Err(error) => {
                println!("version {} does not fit: {error}", properties.version);
                hub.report(&json!({ "problem": error.to_string() })).await?;
            }
        }
    }
}
