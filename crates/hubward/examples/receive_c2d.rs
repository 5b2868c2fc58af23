//! Receives messages from the cloud until Ctrl-C.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{HubClient, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Settings::from_env()?.connect().await?;
    tokio::select! {
        result = receive(&hub) => result?,
        signal = tokio::signal::ctrl_c() => signal?,
    }
    hub.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn receive(hub: &HubClient) -> Result<(), Box<dyn std::error::Error>> {
    let mut messages = hub.cloud_messages()?;
    loop {
        let message = messages.next().await?;
        println!("message {}: {}", message.message_id().unwrap_or("-"), String::from_utf8_lossy(&message.body));
        for (name, value) in message.properties() {
            println!("  {name}={}", value.unwrap_or_default());
        }
        // `complete` makes the hub delete the message. If the program drops the message instead, the hub redelivers it.
        match message.complete().await {
            Ok(()) => println!("completed"),
            Err(error) => println!("it will come again: {error}"),
        }
    }
}
