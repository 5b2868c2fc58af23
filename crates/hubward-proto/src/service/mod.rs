//! The JSON models of the service APIs, with which an operator manages devices.

mod authority;
mod bulk;
mod certificate_policy;
mod enrollment;
pub mod http;
mod hub;

pub use authority::{
    ArmError, ArmRefusal, CaCertificate, CaCertificateList, CaCertificateProof, CaCertificateProperties,
};
pub use bulk::{BulkError, BulkMode, BulkResult, EnrollmentBulk, EnrollmentGroupBulk, QuerySpecification};
pub use certificate_policy::CertificatePolicy;
pub use enrollment::{
    AllocationPolicy, Attestation, AttestationType, EnrollmentGroup, EnrollmentSettings, IndividualEnrollment,
    InitialTwin, ProvisioningStatus, ReprovisionPolicy, SymmetricKeys, TwinProperties, X509Attestation,
    X509CaReferences, X509CertificateInfo, X509CertificateWithInfo, X509Certificates,
};
pub use hub::{
    Authentication, AuthenticationType, Capabilities, CloudMessage, ConnectionState, DeliveryAck, DesiredPatch, Device,
    DeviceBulkError, DeviceBulkResult, DeviceBulkWarning, DeviceOperation, DeviceStatus, HubRefusal, ImportMode,
    MethodRequest, MethodResult, Module, OperationCode, OperationProperties, PurgeResult, RegistryStatistics,
    ServiceStatistics, Twin, TwinPatch, TwinSections, X509Thumbprint, code_of, name_of,
};
