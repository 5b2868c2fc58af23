//! Sends telemetry: JSON with properties, then many messages without waiting for each acknowledgement.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{Message, Settings, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Settings::from_env()?.connect().await?;

    // To send one message, call `send`. It returns when the hub has acknowledged the message.
    //
    // `Message::json` sets the content type and the encoding, so the hub can route the message by the fields of its
    // JSON.
    let reading = json!({ "temperature": 21.5 });
    hub.send(Message::json(&reading)?.property("room", "attic")).await?;
    println!("the reading is at the hub");

    // To send many messages, call `enqueue`. It returns when there is room in the queue. The receipt resolves when the
    // hub has acknowledged the message.
    let mut receipts = Vec::new();
    for number in 1..=5 {
        let message = Message::new(format!("line {number}")).message_id(format!("m-{number}"));
        receipts.push(hub.enqueue(message).await?);
    }
    for receipt in receipts {
        match receipt.await {
            Ok(()) => println!("acknowledged"),
            Err(error) if error.is_certainly_not_sent() => println!("not at the hub: {error}"),
            Err(error) => println!("perhaps at the hub: {error}"),
        }
    }

    // If a message was not acknowledged, `close` returns an error that names the message.
    hub.close(Duration::from_secs(5)).await?;
    Ok(())
}
