//! Follows the desired properties until Ctrl-C, and reports the values that it applied.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{HubClient, Settings, json};

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
        // The interval is `None` if the cloud has not set the property. To read all properties at once, call
        // `properties.read` with a type of your own that implements `serde::Deserialize`.
        let interval = properties.values.get("interval");
        match interval.map(|it| it.as_u64().ok_or(it)).transpose() {
            Ok(interval) => {
                println!("version {}: interval {interval:?}", properties.version);
                let reported = hub.report(&json!({ "interval": interval, "problem": null })).await?;
                println!("reported, version {}", reported.version.unwrap_or_default());
            }
            Err(value) => {
                let problem = format!("the interval must be a whole number, not {value}");
                println!("version {} does not fit: {problem}", properties.version);
                hub.report(&json!({ "problem": problem })).await?;
            }
        }
    }
}
