//! Runs as a module until Ctrl-C: forwards messages of the input `readings` if the temperature is too high.
//! Set `IOTHUB_DEVICE_CONNECTION_STRING` to the connection string of the module, with a `ModuleId`.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::{HubClient, HubSettings, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = HubSettings::from_env()?.connect().await?;
    tokio::select! {
        result = filter(&hub) => result?,
        signal = tokio::signal::ctrl_c() => signal?,
    }
    hub.close(Duration::from_secs(5)).await?;
    Ok(())
}

async fn filter(hub: &HubClient) -> Result<(), Box<dyn std::error::Error>> {
    let mut inputs = hub.inputs()?;
    println!("ready");
    loop {
        let reading = inputs.next().await?;
        let celsius: Option<f64> = std::str::from_utf8(&reading.body).ok().and_then(|it| it.parse().ok());
        match (reading.input.as_deref(), celsius) {
            (Some("readings"), Some(celsius)) if celsius > 30.0 => {
                // Forward the message first, because completing a message deletes it at the hub.
                hub.send(Message::new(celsius.to_string()).output("alarms")).await?;
                println!("{celsius} is too hot");
            }
            (_, Some(celsius)) => println!("{celsius} is fine"),
            (_, None) => println!("no reading"),
        }
        reading.complete().await?;
    }
}
