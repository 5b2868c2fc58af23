//! Starts an emulator with one device and prints the settings of the device. When standard input ends, prints the
//! telemetry that the hub received.

use std::io::Read as _;

use hubward_emulator::{Emulator, SERVICE_RETRY_AFTER};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the example prints for people")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator =
        Emulator::builder().mqtt_port(8883).https_port(8443).retry_after(Some(SERVICE_RETRY_AFTER)).start().await?;
    let device = emulator.enroll("dev-1")?;
    for (name, value) in device.vars() {
        println!("export {name}='{value}'");
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    for message in emulator.telemetry("localhost").expect("the hub").all() {
        println!("{} {} {}", message.offset, message.device_id, message.body_text());
    }
    emulator.shutdown().await;
    Ok(())
}
