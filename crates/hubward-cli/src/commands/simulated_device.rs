//! The devices that a user of the portal starts with the button "Run a simulated device". Each one is a real client in
//! this process. It registers over MQTT and sends telemetry once per second.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use hubward::{HubClient, Message, Settings};
use hubward_emulator::{Builder, SimulatedDevice};
use serde_json::json;

use super::device::scripted_device::{Lifetime, Observer, Script, ScriptedDevice, Telemetry};
use crate::cloud;
use crate::failure::Failure;
use crate::output::DeviceEvent;

/// Interval between two telemetry messages.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the device waits for acknowledgements when it stops. The emulator gives a device 2 s to stop, so this must
/// be shorter.
const FLUSH: Duration = Duration::from_secs(1);

/// Receives the events of a simulated device, and ignores them. The command prints nothing, because the portal shows
/// what the device does.
struct Silent;

/// Lets the emulator run simulated devices, if the program supports MQTT.
pub(super) fn offer(builder: Builder) -> Builder {
    if cfg!(feature = "mqtt") { builder.simulated_device(run) } else { builder }
}

async fn run(simulated: SimulatedDevice) -> Result<(), String> {
    let variables = cloud::owned(simulated.vars().to_vec());
    let settings = Settings::from_vars(|name| cloud::value(&variables, name)).map_err(|it| it.to_string())?;
    let device = ScriptedDevice::new(script(), Arc::new(Silent));
    let serving = device.clone();
    let settings = settings.options(|it| it.before_login(move |hub: &HubClient| serving.serve_methods(hub)));
    let hub = tokio::select! {
        connected = settings.connect() => connected.map_err(|it| told(&it.into()))?,
        () = simulated.stopped() => return Ok(()),
    };
    device.run(&hub, Lifetime::OfClient, simulated.stopped(), FLUSH).await.map_err(|it| told(&it.into()))
}

fn script() -> Script {
    let report = json!({ "simulated": true, "firmware": "1.0.0", "intervalSeconds": INTERVAL.as_secs() });
    Script {
        report: report.as_object().cloned(),
        methods: [
            ("ping".to_owned(), (200, Some(json!({ "pong": true })))),
            ("reboot".to_owned(), (202, Some(json!({ "rebooting": true })))),
        ]
        .into(),
        interval: Some(INTERVAL),
        telemetry: Telemetry::Made(reading),
    }
}

/// Readings of a room with a battery-powered sensor. Each field is a slow wave with noise.
fn reading(number: u64) -> Message {
    let wave = |period: f64| (number as f64 / period * std::f64::consts::TAU).sin();
    let noise = || fastrand::f64() - 0.5;
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let temperature = rounded(0.4f64.mul_add(noise(), 3.0f64.mul_add(wave(60.0), 21.0)));
    let humidity = rounded(1.5f64.mul_add(noise(), 8.0f64.mul_add(wave(97.0), 45.0)));
    let battery = rounded((number as f64).mul_add(-0.01, 100.0).max(0.0));
    // `json!` would sort the fields by name.
    let reading = format!(r#"{{"temperature":{temperature},"humidity":{humidity},"battery":{battery}}}"#);
    Message::new(reading).content_type("application/json").content_encoding("utf-8")
}

/// The text of a failure, for the portal.
fn told(failure: &Failure) -> String {
    failure.messages.join(": ")
}

impl Observer for Silent {
    fn tell(&self, _event: &DeviceEvent<'_>) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }

    fn written(&self) -> BoxFuture<'_, Result<(), Failure>> {
        ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_reading_has_numbers_that_change() {
        let mut seen = BTreeSet::new();
        for number in [1, 15, 30, 20_000, u64::MAX] {
            let message = reading(number);
            let value: serde_json::Value = serde_json::from_slice(&message.body).expect("JSON");
            for (field, least, most) in [("temperature", 17.0, 25.0), ("humidity", 35.0, 55.0), ("battery", 0.0, 100.0)]
            {
                let number = value[field].as_f64().expect("a number");
                assert!((least..=most).contains(&number), "{field} is {number}");
            }
            seen.insert(message.body.to_vec());
        }
        assert_eq!(seen.len(), 5);
    }
}
