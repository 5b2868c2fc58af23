//! A local Azure Device Provisioning Service (DPS) and IoT Hub, for tests and for trying things out.
//!
//! ```
//! # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
//! use hubward_emulator::Emulator;
//!
//! let emulator = Emulator::start().await?;
//! let device = emulator.enroll("dev-1")?;
//! for (name, value) in device.vars() {
//!     // PROVISIONING_HOST, PROVISIONING_IDSCOPE, …: give them to the program under test.
//!     # let _ = (name, value);
//! }
//! # if false {
//! let messages = emulator.telemetry("localhost").expect("the hub").wait_for(10).await;
//! assert_eq!(messages[0].device_id, "dev-1");
//! # }
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(doc()).unwrap();
//! ```
//!
//! # Behavior
//!
//! * Three listeners: MQTT over TLS; HTTPS and MQTT over WebSocket; a plain-HTTP admin port with the
//!   portal, on loopback unless it is told otherwise, and not there without the feature `admin`. DPS and
//!   hubs share the first two: a device's user name tells which it means.
//! * [`Emulator::events`] tells what has happened and why somebody was refused, which the services keep to
//!   themselves. [`Emulator::fault`] and [`Emulator::script_fault`] let things go wrong.
//! * TLS 1.2 and 1.3. Certificates come from a CA of the emulator's own and exist for its names
//!   only; a client that asks for another name is refused.
//! * Strict as the service: what the service refuses is refused. Where no document says what the
//!   service does, the choice stands in `docs/emulator-fidelity.md`, marked `[guess]`.
//! * State is in memory, or in a data directory, where it survives whatever ends the process: nothing
//!   is answered before it is on disk.
//! * Emulated: the DPS device API with symmetric keys; of hubs telemetry, twins, direct methods,
//!   messages to devices, modules; of the DPS service API the enrollments that have symmetric keys
//!   and the records of registrations; of the hub service API identities, twins, methods, queries,
//!   statistics, messages and feedback. What is not gets an error that says so.
//!
//! hubward is an independent project, not a Microsoft product.

mod admission;
mod builder;
mod choices;
mod clock;
mod dps;
mod emulator;
mod enroll;
mod error;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod hub;
mod journal;
mod listen;
mod mqtt;
mod new_file;
mod ready;
mod serve;
mod service;
mod shared;
mod socket;
mod store;
mod tls;
mod wire_id;

pub use builder::{Builder, DEV_GROUP, DEV_GROUP_KEY, DEV_ID_SCOPE, SERVICE_RETRY_AFTER};
pub use emulator::Emulator;
pub use enroll::{Enrollment, EnrollmentBuilder, EnrollmentGroup, EnrollmentGroupBuilder};
pub use error::StartError;
pub use fault::{BadScript, Fault, FaultScript, Point, ScriptedFault, UnfitFault};
pub use hub::{CloudToDevice, Expiry, SendProblem, Telemetry, TelemetryLog, TelemetryReader};
pub use hub::{Invocation, InvokeError, MethodResult, TwinProblem};
pub use journal::{Event, EventKind, EventLog, EventReader, EventSource};
/// Writes a file as a whole or not at all, for its owner only, in the place of one that is there. For the
/// program `hubward`.
#[doc(hidden)]
pub use new_file::replace as replace_file;
pub use ready::Ready;
pub use store::{
    Ack, CloudMessageState, CloudMessageView, ConnectionState, DeviceStatus, DeviceView, EnrollError, FeedbackRecord,
    ModuleView, Outcome, Policy, PolicyView, Seed, SeedAssigned, SeedAuthentication, SeedDevice, SeedError, SeedModule,
    SeedProperties, SeedRegistration, SeedReport, StateError, StateLost, TwinView,
};
pub use tls::{BadCertificate, CaError};
