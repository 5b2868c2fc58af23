//! Runs a device for months: remembers its hub, has a second key, says what happens, and follows its moves.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{Device, DeviceEvent, Message, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // HUBWARD_SECONDARY_KEY is the second key, if the device has one.
    let settings = Device::from_env()?
        .cache("assignment.cache") // after a restart, the device connects without DPS
        .reprovision_method("reprovision") // an operator can make the device register again
        .on_event(|event| println!("{event}"));
    // Unlike `connect`, `spawn` returns at once and never gives up. Messages wait until there is a hub.
    let device = settings.spawn()?;

    let mut events = device.events();
    let hub = device.hub().clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let DeviceEvent::Connected { moved_from: Some(_), .. } = event {
                // A new hub may not know the reported properties.
                let reported = hub.report(&json!({ "firmware": "2.1" })).await;
                println!("reported anew: {reported:?}");
            }
        }
    });
    loop {
        if let Err(error) = device.send(Message::new("21.5")).await {
            println!("{error}");
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
