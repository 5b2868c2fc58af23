//! The models of a hub's service API: identities, twins, methods, errors.

mod authentication;
mod cloud_message;
mod identity;
mod identity_bulk;
mod method;
mod refusal;
mod statistics;
mod twin;

pub use authentication::{Authentication, AuthenticationType, X509Thumbprint};
pub use cloud_message::{CloudMessage, DeliveryAck};
pub use identity::{Capabilities, ConnectionState, Device, DeviceStatus, Module};
pub use identity_bulk::{
    DeviceBulkError, DeviceBulkResult, DeviceBulkWarning, DeviceOperation, ImportMode, OperationCode,
    OperationProperties,
};
pub use method::{MethodRequest, MethodResult};
pub use refusal::{HubRefusal, code_of, name_of};
pub use statistics::{PurgeResult, RegistryStatistics, ServiceStatistics};
pub use twin::{DesiredPatch, Twin, TwinPatch, TwinSections};
