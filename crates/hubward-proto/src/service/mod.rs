//! The JSON models of the service side: what an operator creates and reads.

mod bulk;
mod enrollment;

pub use bulk::{BulkError, BulkMode, BulkResult, EnrollmentBulk, EnrollmentGroupBulk, QuerySpecification};
pub use enrollment::{
    AllocationPolicy, Attestation, AttestationType, EnrollmentGroup, EnrollmentSettings, IndividualEnrollment,
    InitialTwin, ProvisioningStatus, ReprovisionPolicy, SymmetricKeys, TwinProperties,
};
