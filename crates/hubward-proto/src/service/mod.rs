//! The JSON models of the service side: what an operator creates and reads.

mod enrollment;

pub use enrollment::{
    AllocationPolicy, Attestation, AttestationType, EnrollmentGroup, EnrollmentSettings, IndividualEnrollment,
    InitialTwin, ProvisioningStatus, ReprovisionPolicy, SymmetricKeys, TwinProperties,
};
