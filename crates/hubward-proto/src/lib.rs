//! Encodes and parses the wire formats of Azure's Device Provisioning Service (DPS) and IoT Hub that hubward uses. Also
//! contains the registration flow as a pure state machine.
//!
//! ```
//! use hubward_proto::dps::{RegisterTopic, ResponseTopic};
//!
//! let topic = RegisterTopic { request_id: "1".into() };
//! assert_eq!(topic.encode(), "$dps/registrations/PUT/iotdps-register/?$rid=1");
//!
//! let answer = ResponseTopic::parse("$dps/registrations/res/202/?$rid=1&retry-after=3")?;
//! assert_eq!((answer.status, answer.retry_after.as_deref()), (202, Some("3")));
//! # Ok::<(), hubward_proto::ProtoError>(())
//! ```
//!
//! # Behaviour
//!
//! * The crate has no runtime, no clock and no socket: the caller passes the time and random numbers as arguments.
//! * Each wire format has one module with an encoder and a parser.
//! * The client and the emulator use the same modules, so both make the same error if a module is wrong. A test of the
//!   client against the emulator therefore cannot find such an error.
//!
//!   Other tests compare the formats with the texts in `tests/vectors/`, which Microsoft's SDKs produced.
//! * Parsers accept additions that the service may make later: they ignore unknown fields, and keep an unknown value of
//!   an enumeration as `Unknown`.
//! * The documentation of each wire format ends with its source:
//!   * `[doc]`: Microsoft's documentation;
//!   * `[sdk]`: the source code of an official SDK;
//!   * `[seen]`: a trace;
//!   * `[guess]`: our choice, because no source exists.

mod csr;
pub mod dps;
mod error;
mod error_report;
mod excerpt;
mod fault;
pub mod hub;
mod ids;
pub mod limits;
mod percent;
pub mod retry_after;
pub mod service;

pub use csr::Csr;
pub use error::ProtoError;
pub use error_report::error_messages;
#[doc(hidden)]
pub use error_report::write_error_report;
pub use excerpt::{Excerpt, is_hidden};
pub use fault::Fault;
pub use ids::{CertificateRequestId, DeviceId, HubHost, IdScope, ModuleId, OperationId, RegistrationId};
