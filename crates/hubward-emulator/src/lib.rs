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
//! # Behaviour
//!
//! * Listens on three ports:
//!   * MQTT over TLS.
//!   * HTTPS, and MQTT over WebSocket.
//!   * The admin API and the portal, over plain HTTP. This port needs the feature `admin`. By default, it listens only
//!     on loopback addresses. The builder can set another address.
//! * Serves DPS and the hubs on the same MQTT and HTTPS ports. Over MQTT, the user name of a device selects DPS or a
//!   hub.
//! * Logs events; see [`Emulator::events`]. The log contains the reason for each refusal. The real services do not
//!   publish these reasons.
//! * Injects faults; see [`Emulator::fault`] and [`Emulator::script_fault`].
//! * Supports TLS 1.2 and 1.3. The emulator has its own CA, which issues certificates only for the names of the
//!   emulator. If the client asks for another name, the TLS handshake fails.
//! * Is strict: refuses the requests that the real service is known to refuse. Some behaviour of the service is not
//!   documented. For such behaviour, `docs/emulator-fidelity.md` records our choice and marks it `[guess]`.
//! * Shows its state on a web page, the portal. If the program that embeds the emulator provides a device client, users
//!   of the portal can start simulated devices; see `Builder::simulated_device`.
//! * Keeps its state in memory or in a data directory. State in a data directory survives a crash, because the emulator
//!   writes each change to disk before it answers the request.
//! * Emulates the device API of DPS, with symmetric keys and with certificates (X.509).
//! * Emulates these parts of the service API of DPS: enrollments with symmetric keys or certificates, and registration
//!   records.
//! * Asks each client for a certificate in the TLS handshake, and requires none. Accepts every certificate there; DPS
//!   and the hubs judge the certificate when the device registers or connects.
//! * Issues certificates to devices, at DPS and at a hub, as a preview of the service does; see
//!   [`Emulator::put_credential_policy`].
//! * Emulates these parts of a hub for devices: telemetry, twins, direct methods, cloud-to-device messages and modules.
//! * Emulates these parts of a hub's service API: identities, twins, methods, queries, statistics, messages and
//!   feedback.
//! * Returns an error for every other request. For an operation that the emulator knows but does not support, the error
//!   says that the operation is not emulated.
//!
//! hubward is an independent project, not a Microsoft product.

mod doors;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
#[cfg(test)]
#[expect(dead_code, reason = "the unit tests perform no handshakes")]
#[path = "../tests/it/lab.rs"]
mod lab;
mod services;
mod state;

pub use doors::tls::BadCertificate;
pub use handle::builder::{Builder, SERVICE_RETRY_AFTER};
pub use handle::emulator::Emulator;
pub use handle::enroll::{Enrollment, EnrollmentBuilder, EnrollmentGroup, EnrollmentGroupBuilder};
pub use handle::error::StartError;
pub use services::hub::{CloudToDevice, Expiry, Invocation, InvokeError, MethodResult, SendProblem, TwinProblem};
pub use services::ready::Ready;
#[cfg(feature = "admin")]
pub use services::simulated::SimulatedDevice;
pub use state::disk::{StateError, StateLost};
pub use state::fault::{BadScript, Fault, FaultScript, Point, ScriptedFault, UnfitFault};
pub use state::journal::{Event, EventKind, EventLog, EventReader, EventSource};
pub use state::model::{
    Ack, AuthorityError, AuthorityView, CloudMessageState, CloudMessageView, ConnectionState, CredentialPolicy,
    CredentialPolicyError, DEFAULT_CREDENTIAL_POLICY, DEV_GROUP, DEV_GROUP_KEY, DEV_ID_SCOPE, DeviceStatus, DeviceView,
    EnrollError, FeedbackRecord, ModuleView, Outcome, Policy, PolicyView, Seed, SeedAssigned, SeedAuthentication,
    SeedAuthority, SeedDevice, SeedError, SeedIssuance, SeedModule, SeedProperties, SeedRegistration, SeedReport,
    TwinView,
};
/// Writes a file atomically. Replaces the file if it exists. Only the owner can read the file. The program `hubward`
/// uses this function.
#[doc(hidden)]
pub use state::new_file::replace as replace_file;
pub use state::secret_file::CaError;
pub use state::telemetry::{Telemetry, TelemetryLog, TelemetryReader};
