//! Registers a device with the Azure Device Provisioning Service (DPS), over any transport.
//!
//! ```
//! use std::time::Duration;
//! use hubward_dps::{ProvisionError, Provisioner};
//! use hubward_transport::{Credential, DpsTransport, IdScope, Register, RegistrationId, SharedKey};
//!
//! # async fn example(transport: Box<dyn DpsTransport>) -> Result<(), Box<dyn std::error::Error>> {
//! let device = Register::new(IdScope::new("0ne00123ABC")?, RegistrationId::new("dev-1")?);
//! let key = SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
//! let assignment = Provisioner::new(transport, device, Credential::SharedKey(key))
//!     .deadline(Duration::from_secs(120))
//!     .run()
//!     .await?;
//! println!("{} belongs to {}", assignment.device_id, assignment.hub);
//! # Ok(())
//! # }
//! ```
//!
//! # Behavior
//!
//! * One deadline covers everything: connecting, waiting, retrying. Each request has a bound of its
//!   own below it, so that a silent server costs one attempt, not the whole time.
//! * The service's Retry-After is kept to, on success and on refusal. Where it says nothing, polls
//!   are 2 s apart and a server in trouble is left alone for 5 s.
//! * Network trouble, throttling and 5xx are tried again with growing, random waits; a wrong key, an
//!   unknown id or a bad certificate are not: asking again cannot help.
//! * A connection that breaks while the service is assigning does not cost a second registration:
//!   the same operation is asked about again.

mod error;
mod provisioner;

pub use error::ProvisionError;
pub use hubward_proto::dps::{Assignment, AssignmentStatus, RegistrationState, RetryPolicy, Substatus};
pub use provisioner::{Progress, Provisioner};
// What crosses this crate's functions.
pub use hubward_transport::{
    Credential, DpsTransport, Fault, IdScope, OperationId, Register, RegistrationId, SharedKey, TransportError,
};
