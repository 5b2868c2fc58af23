//! IoT Hub, the device side over MQTT: who may connect, what may be published, the telemetry log.

mod c2d;
mod connect;
mod deliver;
mod login;
mod method;
mod publish;
mod push;
mod telemetry;

pub use c2d::{CloudToDevice, Expiry, SendProblem};
pub(crate) use connect::serve as serve_mqtt;
pub(crate) use push::Push;
#[cfg(test)]
pub(crate) use telemetry::Origin;
pub use telemetry::{Telemetry, TelemetryLog, TelemetryReader};
