//! The device API of a hub: login, telemetry, twins, methods and messages. This code does not depend on the protocol.

mod c2d;
mod code;
mod connection;
mod credentials;
mod login;
mod method;
mod queue;
mod twin;

pub use c2d::{CloudToDevice, Expiry, SendProblem};
pub(crate) use code::{Code, error_body};
pub(crate) use connection::{DeviceConnection, Published};
pub(crate) use credentials::{CredentialResponse, CredentialResult, credential_refusal};
pub(crate) use login::{Login, LoginRequest, check as check_login};
pub(crate) use method::invoke;
pub use method::{Invocation, InvokeError, MethodResult};
pub(crate) use queue::{feedback, queued, send};
pub use twin::TwinProblem;
pub(crate) use twin::{ReportError, change as change_twin, note_update as note_twin_update};
