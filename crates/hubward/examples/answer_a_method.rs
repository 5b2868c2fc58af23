//! Answers the direct method `setInterval` until Ctrl-C. The client itself answers 404 if a method has no handler, 500
//! if a handler fails or panics, and 400 if a payload is invalid.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::time::Duration;

use hubward::error::Unsupported;
use hubward::{HubClient, MethodError, MethodResponse, Settings, Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Register the handler before the login: if this device was connected before, the hub may call its methods
    // immediately after the login.
    let hub = Settings::from_env()?.options(|it| it.before_login(serve_methods)).connect().await?;
    println!("ready");

    tokio::signal::ctrl_c().await?;
    hub.close(Duration::from_secs(5)).await?;
    Ok(())
}

fn serve_methods(hub: &HubClient) -> Result<(), Unsupported> {
    hub.serve_method("setInterval", |call| async move {
        // `json` also reads a payload into a type of your own that implements `serde::Deserialize`.
        let payload: Value = call.json()?;
        let seconds =
            payload["seconds"].as_u64().ok_or_else(|| MethodError::bad_request("seconds must be a number"))?;
        if seconds == 0 {
            return Err(MethodError::bad_request("the interval must not be zero"));
        }
        println!("the interval is {seconds} s");
        MethodResponse::json(200, &json!({ "seconds": seconds }))
    })
}
