//! A device that runs until it is killed, and sends telemetry. Prints a line for each event: a word, and a hub or a
//! text.
//!
//! The suite (`device_kill`) runs and kills this program. The program reads the variables of
//! [`hubward::DeviceSettings::from_env`]. If the variable `DEVICE_RENEWS` is set, the device gets its certificates from
//! DPS and the hub, and renews them all the time.

#![expect(clippy::print_stdout, reason = "the suite reads its output")]

use std::error::Error;
use std::time::Duration;

use hubward::device::{CertificateIssuance, DeviceEvent};
use hubward::hub::Backoff;
use hubward::{Device, Message};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut settings = Device::from_env()?;
    if std::env::var_os("DEVICE_RENEWS").is_some() {
        let cache = settings.cache.clone().ok_or("a cache")?;
        let short = Duration::from_millis(1);
        let issuance = CertificateIssuance::beside(cache).renew_at(0.0).jitter(0.0).check_every(short);
        settings = settings.certificate_issuance(issuance.retry_wait(Backoff::new(short, short)));
    }
    let device = settings
        .reprovision_method("reprovision")
        .on_event(|event| match event {
            DeviceEvent::CacheUsed { hub, .. } => println!("cached {hub}"),
            DeviceEvent::CacheSetAside(warning) => println!("set-aside {warning}"),
            DeviceEvent::CacheNotWritten(error) => println!("not-written {error}"),
            DeviceEvent::Registering { .. } => println!("registering"),
            DeviceEvent::Assigned { hub, .. } => println!("assigned {hub}"),
            DeviceEvent::Connected { hub, .. } => println!("connected {hub}"),
            DeviceEvent::CertificateIssued { .. } => println!("issued"),
            DeviceEvent::CertificateKept { .. } => println!("kept"),
            other => println!("other {other}"),
        })
        .spawn()?;
    loop {
        device.send(Message::new("21.5")).await?;
    }
}
