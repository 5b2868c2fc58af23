//! IoT Hub, the device side over MQTT: who may connect, what may be published, the telemetry log.

mod connect;
mod login;
mod method;
mod publish;
mod push;
mod telemetry;

pub(crate) use connect::serve as serve_mqtt;
pub(crate) use push::Push;
pub use telemetry::{Telemetry, TelemetryLog, TelemetryReader};
