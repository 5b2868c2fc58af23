//! The device side of IoT Hub over MQTT: logins, publishes, twins, methods, messages, and the telemetry log.

mod c2d;
mod connect;
mod delayed;
mod deliver;
mod login;
mod method;
mod outgoing;
mod problem;
mod publish;
mod push;
mod telemetry;
mod twin;

pub use c2d::{CloudToDevice, Expiry, SendProblem};
pub(crate) use connect::serve as serve_mqtt;
pub(crate) use method::invoke;
pub use method::{Invocation, InvokeError, MethodResult};
pub(crate) use problem::Code;
pub(crate) use push::Push;
pub(crate) use telemetry::Origin;
pub use telemetry::{Telemetry, TelemetryLog, TelemetryReader};
pub use twin::TwinProblem;
pub(crate) use twin::{change as change_twin, note_update as note_twin_update};
