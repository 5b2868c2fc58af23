//! The requests for enrollments and for enrollment groups. Only their paths differ.

use hubward_service::model::{Attestation, EnrollmentGroup, IndividualEnrollment};
use hubward_service::{DpsService, RawValue, ServiceError};
use serde_json::Value;

use super::credential_policy;
use crate::output::Column;

/// An individual enrollment or an enrollment group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An enrollment of one device.
    Individual,
    /// An enrollment group.
    Group,
}

impl Kind {
    /// The name in messages and commands.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Individual => "enrollment",
            Self::Group => "enrollment-group",
        }
    }

    /// The JSON member that holds the ID.
    pub(super) const fn id_member(self) -> &'static str {
        match self {
            Self::Individual => "registrationId",
            Self::Group => "enrollmentGroupId",
        }
    }

    /// The columns of table and tsv. Their order is a documented interface: see docs/cli.md.
    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Individual => &[
                ("RegistrationId", "/registrationId"),
                ("DeviceId", "/deviceId"),
                ("Attestation", "/attestation/type"),
                ("Status", "/provisioningStatus"),
                ("Allocation", "/allocationPolicy"),
                ("IotHubs", "/iotHubs"),
                ("PrimaryKey", "/attestation/symmetricKey/primaryKey"),
                ("SecondaryKey", "/attestation/symmetricKey/secondaryKey"),
            ],
            Self::Group => &[
                ("EnrollmentGroupId", "/enrollmentGroupId"),
                ("Attestation", "/attestation/type"),
                ("Status", "/provisioningStatus"),
                ("Allocation", "/allocationPolicy"),
                ("IotHubs", "/iotHubs"),
                ("PrimaryKey", "/attestation/symmetricKey/primaryKey"),
                ("SecondaryKey", "/attestation/symmetricKey/secondaryKey"),
            ],
        }
    }

    /// Returns the columns for a table. The columns of the keys are included only if `show_keys` is set.
    pub(super) fn columns_for(self, show_keys: bool) -> &'static [Column] {
        let all = self.columns();
        if show_keys { all } else { &all[..all.len() - 2] }
    }

    /// Reads the enrollment or group. The service returns it without keys.
    pub(super) async fn read(self, dps: &DpsService, id: &str) -> Result<Box<RawValue>, ServiceError> {
        match self {
            Self::Individual => dps.enrollment(id).verbatim().await,
            Self::Group => dps.group(id).verbatim().await,
        }
    }

    /// Reads the attestation, with keys.
    pub(super) async fn attestation(self, dps: &DpsService, id: &str) -> Result<Attestation, ServiceError> {
        match self {
            Self::Individual => dps.enrollment_attestation(id).await,
            Self::Group => dps.group_attestation(id).await,
        }
    }

    /// Creates the enrollment or group. If `etag` is given, replaces the existing enrollment or group instead, but only
    /// if its ETag is `etag`.
    pub(super) async fn write(
        self,
        dps: &DpsService,
        id: &str,
        body: &Value,
        etag: Option<&str>,
    ) -> Result<Box<RawValue>, ServiceError> {
        match self {
            Self::Individual => {
                let mut model = IndividualEnrollment::new(id);
                credential_policy::copy(body, &mut model.settings);
                let call = dps.create_enrollment(&model).json(body);
                let call = if let Some(etag) = etag { call.if_match(etag) } else { call };
                call.verbatim().await
            }
            Self::Group => {
                let mut model = EnrollmentGroup::new(id);
                credential_policy::copy(body, &mut model.settings);
                let call = dps.create_group(&model).json(body);
                let call = if let Some(etag) = etag { call.if_match(etag) } else { call };
                call.verbatim().await
            }
        }
    }

    /// Deletes the enrollment or group. If `etag` is given and does not match, the service refuses the request.
    pub(super) async fn delete(self, dps: &DpsService, id: &str, etag: Option<&str>) -> Result<(), ServiceError> {
        let call = match self {
            Self::Individual => dps.delete_enrollment(id),
            Self::Group => dps.delete_group(id),
        };
        if let Some(etag) = etag { call.if_match(etag).await } else { call.await }
    }

    /// Lists at most `top` enrollments or groups. If `top` is `None`, lists all.
    pub(super) async fn all(self, dps: &DpsService, top: Option<usize>) -> Result<Vec<Box<RawValue>>, ServiceError> {
        match self {
            Self::Individual => {
                let pager = dps.enrollments();
                if let Some(top) = top { pager.limit(top) } else { pager }.verbatim().all().await
            }
            Self::Group => {
                let pager = dps.groups();
                if let Some(top) = top { pager.limit(top) } else { pager }.verbatim().all().await
            }
        }
    }
}
