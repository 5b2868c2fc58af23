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
//! * One deadline covers the whole registration: connecting, waiting and retrying. Each request also has its own
//!   shorter limit. So a silent server costs one attempt, and time remains for further attempts.
//! * The provisioner obeys the service's Retry-After, in a successful response and in a refusal. If a response has no
//!   Retry-After, the provisioner polls after 2 s.
//! * The provisioner retries network failures, throttling and 5xx. The waits are random and grow. After a 5xx, the
//!   provisioner waits at least 5 s. The provisioner does not retry a wrong key, an unknown id or a bad certificate,
//!   because a retry cannot succeed.
//! * If a loopback address refuses the connection, the local emulator is probably not running. Before the first
//!   successful answer of the service, the provisioner then gives up after three attempts, within two seconds.
//! * The provisioner logs each request with the crate `tracing`: the transport, the endpoint, the number of the
//!   attempt, the outcome, and the wait before the next request.
//! * If the connection breaks while the service is assigning, the provisioner continues to poll the same operation. It
//!   does not register again.

mod error;
mod provisioner;

pub use error::ProvisionError;
pub use hubward_proto::dps::{Assignment, AssignmentStatus, RegistrationState, RetryPolicy, Substatus};
pub use provisioner::{Progress, Provisioner};
// Types of other crates that appear in this crate's API.
pub use hubward_transport::{
    Credential, DpsTransport, Fault, IdScope, OperationId, Register, RegistrationId, SharedKey, TransportError,
};
