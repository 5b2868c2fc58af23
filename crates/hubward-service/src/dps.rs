//! The service API of DPS: enrollments, enrollment groups, registration records.

use std::sync::Arc;

use hubward_dial::TrustError;
use hubward_proto::dps::RegistrationState;
use hubward_proto::service::http::{self, DPS_API_VERSION};
use hubward_proto::service::{
    Attestation, BulkResult, EnrollmentBulk, EnrollmentGroup, EnrollmentGroupBulk, IndividualEnrollment,
};
use hyper::Method;
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::client::Client;
use crate::login::ServiceLogin;
use crate::options::ServiceOptions;
use crate::pager::Pager;

/// A client of the service API of a DPS instance. Clones share a connection.
///
/// Each method returns a [`Call`] or a [`Pager`]. The client sends the request when the caller awaits this value.
/// Errors have the type [`ServiceError`](crate::ServiceError).
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service routes, 2021-10-01.
#[derive(Debug, Clone)]
pub struct DpsService {
    client: Arc<Client>,
}

impl DpsService {
    /// Creates a client of the DPS in the login.
    ///
    /// # Errors
    /// [`TrustError`] if the certificate authorities cannot be loaded.
    pub fn new(login: ServiceLogin, options: &ServiceOptions) -> Result<Self, TrustError> {
        Ok(Self { client: Arc::new(Client::secure(login, options, DPS_API_VERSION)?) })
    }

    pub(crate) const fn of(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// Returns an individual enrollment without its symmetric keys. For the keys, use
    /// [`enrollment_attestation`](Self::enrollment_attestation).
    pub fn enrollment(&self, registration_id: &str) -> Call<IndividualEnrollment> {
        self.call(Method::GET, http::enrollment(registration_id))
    }

    /// Creates an enrollment. If it already exists, the call fails with 409. The answer contains the keys of the
    /// enrollment.
    ///
    /// If the enrollment names a credential policy, the request has the API version of the preview with this member.
    pub fn create_enrollment(&self, enrollment: &IndividualEnrollment) -> Call<IndividualEnrollment> {
        let call = self.call(Method::PUT, http::enrollment(&enrollment.registration_id)).json(enrollment);
        call.api_version(enrollment.settings.api_version())
    }

    /// Replaces an enrollment. If `enrollment` contains an ETag, the call succeeds only if the ETag still matches.
    /// Without an ETag, replaces any version.
    pub fn update_enrollment(&self, enrollment: &IndividualEnrollment) -> Call<IndividualEnrollment> {
        self.create_enrollment(enrollment).if_match(enrollment.settings.etag.as_deref().unwrap_or("*"))
    }

    /// Deletes an enrollment. Set [`Call::if_match`] to delete only a certain version.
    pub fn delete_enrollment(&self, registration_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::enrollment(registration_id))
    }

    /// Lists all individual enrollments.
    pub fn enrollments(&self) -> Pager<IndividualEnrollment> {
        self.query_enrollments("SELECT * FROM enrollments")
    }

    /// Lists the individual enrollments that match a query in the service's query language.
    pub fn query_enrollments(&self, query: impl Into<String>) -> Pager<IndividualEnrollment> {
        Pager::new(&self.client, "/enrollments/query", Some(query.into()))
    }

    /// Creates, updates or deletes individual enrollments: at most 10 per request. The answer lists the failures.
    pub fn bulk_enrollments(&self, bulk: &EnrollmentBulk) -> Call<BulkResult> {
        self.call(Method::POST, "/enrollments").json(bulk).accepts_bulk_result()
    }

    /// Returns how the device of an enrollment authenticates. The answer contains the symmetric keys.
    pub fn enrollment_attestation(&self, registration_id: &str) -> Call<Attestation> {
        let path = format!("{}/attestationmechanism", http::enrollment(registration_id));
        self.call(Method::POST, path).read_only()
    }
}

impl DpsService {
    /// Returns an enrollment group without its symmetric keys. For the keys, use
    /// [`group_attestation`](Self::group_attestation).
    pub fn group(&self, enrollment_group_id: &str) -> Call<EnrollmentGroup> {
        self.call(Method::GET, http::enrollment_group(enrollment_group_id))
    }

    /// Creates a group. If it already exists, the call fails with 409. The answer contains the keys of the group.
    pub fn create_group(&self, group: &EnrollmentGroup) -> Call<EnrollmentGroup> {
        let call = self.call(Method::PUT, http::enrollment_group(&group.enrollment_group_id)).json(group);
        call.api_version(group.settings.api_version())
    }

    /// Replaces a group. If `group` contains an ETag, the call succeeds only if the ETag still matches. Without an
    /// ETag, replaces any version.
    pub fn update_group(&self, group: &EnrollmentGroup) -> Call<EnrollmentGroup> {
        self.create_group(group).if_match(group.settings.etag.as_deref().unwrap_or("*"))
    }

    /// Deletes a group. Set [`Call::if_match`] to delete only a certain version.
    pub fn delete_group(&self, enrollment_group_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::enrollment_group(enrollment_group_id))
    }

    /// Lists all groups.
    pub fn groups(&self) -> Pager<EnrollmentGroup> {
        self.query_groups("SELECT * FROM enrollmentGroups")
    }

    /// Lists the groups that match a query in the service's query language.
    pub fn query_groups(&self, query: impl Into<String>) -> Pager<EnrollmentGroup> {
        Pager::new(&self.client, "/enrollmentGroups/query", Some(query.into()))
    }

    /// Creates, updates or deletes groups: at most 10 per request. The answer lists the failures.
    pub fn bulk_groups(&self, bulk: &EnrollmentGroupBulk) -> Call<BulkResult> {
        self.call(Method::POST, "/enrollmentGroups").json(bulk).accepts_bulk_result()
    }

    /// Returns how the devices of a group authenticate. The answer contains the keys of the group. Each device has a
    /// key that is derived from a key of the group.
    pub fn group_attestation(&self, enrollment_group_id: &str) -> Call<Attestation> {
        let path = format!("{}/attestationmechanism", http::enrollment_group(enrollment_group_id));
        self.call(Method::POST, path).read_only()
    }
}

impl DpsService {
    /// Returns a registration record.
    pub fn registration(&self, registration_id: &str) -> Call<RegistrationState> {
        self.call(Method::GET, http::registration(registration_id))
    }

    /// Deletes a registration record. The device's identity at its hub remains.
    pub fn delete_registration(&self, registration_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::registration(registration_id))
    }

    /// Lists the registration records of a group.
    pub fn registrations(&self, enrollment_group_id: &str) -> Pager<RegistrationState> {
        Pager::new(&self.client, format!("{}/query", http::registration(enrollment_group_id)), None)
    }

    /// Creates a request that this type does not offer as a method. `path` must start with `/`. Ids in `path` must be
    /// percent-encoded ([`segment`](http::segment)).
    pub fn call<T: DeserializeOwned>(&self, method: Method, path: impl Into<String>) -> Call<T> {
        Call::new(&self.client, method, path)
    }
}
