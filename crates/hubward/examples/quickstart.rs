//! Registers the device that the environment variables describe, and sends ten messages to its hub.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{Device, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::from_env()?.connect().await?;
    for speed in 1..=10 {
        device.send(Message::new(format!("test wind speed {speed}"))).await?;
    }
    device.close(Duration::from_secs(5)).await?;
    println!("ten messages acknowledged");
    Ok(())
}
