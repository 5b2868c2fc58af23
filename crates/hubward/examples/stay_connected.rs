//! Keeps a device connected until Ctrl-C, prints what happens to it, and reports its properties to each new hub.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{Device, DeviceEvent, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // HUBWARD_CACHE_FILE names the file in which the device remembers its hub. After a restart, the device connects to
    // this hub without DPS. HUBWARD_SECONDARY_KEY is the second key, if the device has one.
    let settings = Device::from_env()?
        .reprovision_method("reprovision") // an operator can make the device register again
        .on_event(|event| println!("{event}"));
    // Unlike `connect`, `spawn` returns at once and never gives up. Messages wait until there is a hub.
    let device = settings.spawn()?;
    tokio::select! {
        () = report(&device) => {}
        signal = tokio::signal::ctrl_c() => signal?,
    }
    device.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn report(device: &Device) {
    let mut events = device.events();
    while let Some(event) = events.next().await {
        // After a move, the new hub may not know the reported properties.
        if let DeviceEvent::Connected { .. } = event {
            match device.report(&json!({ "firmware": "2.1" })).await {
                Ok(_) => println!("reported"),
                Err(error) => println!("{error}"),
            }
        }
    }
}
