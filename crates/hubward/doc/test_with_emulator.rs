//! A test of a device against the local emulator.

use std::collections::HashMap;
use std::time::Duration;

use hubward::{Message, Settings};
use hubward_emulator::Emulator;

#[tokio::test]
async fn the_hub_receives_the_message() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::start().await?;
    let device: HashMap<_, _> = emulator.enroll("dev-1")?.vars().into_iter().collect();

    // Outside a test, a program calls `Settings::from_env`.
    let hub = Settings::from_vars(|name| device.get(name).cloned())?.connect().await?;
    hub.send(Message::new("21.5")).await?;
    hub.close(Duration::from_secs(5)).await?;

    let messages = emulator.telemetry("localhost").ok_or("no such hub")?.wait_for(1).await;
    assert_eq!(messages[0].device_id, "dev-1");
    assert_eq!(&messages[0].message.body[..], b"21.5");
    Ok(())
}
