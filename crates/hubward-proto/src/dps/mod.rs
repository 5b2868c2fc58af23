//! The device API of DPS: topics, paths, user name, bodies, error codes, and the registration flow.

pub mod error_code;
pub mod http;
mod login;
pub(crate) mod model;
mod registration;
mod reply;
mod topic;

pub use login::{API_VERSION, API_VERSION_WITH_CSR, DpsUsername, GLOBAL_HOST, SAS_POLICY, sas_resource};
pub use model::{
    AssignmentStatus, DeviceRegistration, RegistrationOperation, RegistrationState, ServiceError, Substatus,
};
pub use registration::{Assignment, Failure, FailureKind, Registration, RegistrationEnd, RetryPolicy, Step};
pub use reply::{DpsBody, DpsReply, Register, TpmChallenge};
pub use topic::{OperationTopic, RESPONSE_FILTER, RegisterTopic, ResponseTopic};
