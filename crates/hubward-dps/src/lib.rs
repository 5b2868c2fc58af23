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
//! # Behaviour
//!
//! * One deadline covers everything: connecting, waiting, retrying. Each request also has its own shorter
//!   limit, so that a silent server costs one attempt and not the whole time.
//! * The provisioner obeys the service's Retry-After, after a success and after a refusal. Without one, it
//!   waits 2 s between polls, and 5 s after a server failure.
//! * The provisioner retries network failures, throttling and 5xx with growing, random waits. It does not retry
//!   a wrong key, an unknown id or a bad certificate, since a retry cannot succeed.
//! * If the connection breaks while the service is assigning, the provisioner does not register again: it polls
//!   the same operation.

mod error;
mod provisioner;

pub use error::ProvisionError;
pub use hubward_proto::dps::{Assignment, AssignmentStatus, RegistrationState, RetryPolicy, Substatus};
pub use provisioner::{Progress, Provisioner};
// Types of other crates that appear in this crate's API.
pub use hubward_transport::{
    Credential, DpsTransport, Fault, IdScope, OperationId, Register, RegistrationId, SharedKey, TransportError,
};
