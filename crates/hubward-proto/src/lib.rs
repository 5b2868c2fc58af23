//! Every wire fact of Azure's Device Provisioning Service (DPS) and IoT Hub that hubward uses, in
//! both directions, and the registration flow as a pure state machine.
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
//! # Behavior
//!
//! * No runtime, no clock, no socket: the time is an argument, and so is randomness.
//! * Each fact has one home, with its encoder and its parser side by side, used by client and
//!   emulator alike. So the judge of a fact is never our own encoder: `tests/vectors/` holds literal
//!   text made by Microsoft's SDKs.
//! * Parsers are tolerant where the service may grow: unknown fields are ignored, unknown words are
//!   kept as `Unknown`.
//! * A source line ends the documentation of each fact: `[doc]` Microsoft's documentation, `[sdk]`
//!   the source of an official SDK, `[seen]` a trace, `[guess]` our choice where no source speaks.

pub mod dps;
mod error;
mod excerpt;
mod fault;
pub mod hub;
mod ids;
pub mod limits;
mod percent;
pub mod retry_after;
pub mod service;

pub use error::ProtoError;
pub use excerpt::{Excerpt, is_hidden};
pub use fault::Fault;
pub use ids::{DeviceId, HubHost, IdScope, ModuleId, OperationId, RegistrationId};
