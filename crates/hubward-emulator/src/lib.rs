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
//! * Listens on three ports: MQTT over TLS; HTTPS and MQTT over WebSocket; plain HTTP for the admin API and the
//!   portal. The admin port is on loopback unless configured otherwise, and it needs the feature `admin`. DPS and
//!   hubs share the first two ports: the user name of a device selects one of them.
//! * [`Emulator::events`] logs what happened and why the emulator refused a client. The real services do not
//!   publish these reasons. [`Emulator::fault`] and [`Emulator::script_fault`] inject faults.
//! * TLS 1.2 and 1.3. The emulator has its own CA, which issues certificates only for the names of the emulator.
//!   The emulator refuses a client that asks for another name.
//! * As strict as the service: it refuses what the service refuses. Where no document says what the service does,
//!   `docs/emulator-fidelity.md` records the choice and marks it `[guess]`.
//! * State is in memory or in a data directory. State in a data directory survives a crash: the emulator answers a
//!   request only after it has written the change to disk.
//! * Emulates the device API of DPS with symmetric keys; telemetry, twins, direct methods, cloud-to-device messages
//!   and modules of hubs; enrollments with symmetric keys and registration records of the DPS service API;
//!   identities, twins, methods, queries, statistics, messages and feedback of the hub service API. Any other
//!   request gets an error that says that it is not emulated.
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
/// Writes a file as a whole or not at all, readable only by its owner. Replaces an existing file. For the program
/// `hubward`.
#[doc(hidden)]
pub use new_file::replace as replace_file;
pub use ready::Ready;
pub use store::{
    Ack, CloudMessageState, CloudMessageView, ConnectionState, DeviceStatus, DeviceView, EnrollError, FeedbackRecord,
    ModuleView, Outcome, Policy, PolicyView, Seed, SeedAssigned, SeedAuthentication, SeedDevice, SeedError, SeedModule,
    SeedProperties, SeedRegistration, SeedReport, StateError, StateLost, TwinView,
};
pub use tls::{BadCertificate, CaError};
