//! What is asked of DPS: enrollments, groups, registration records.

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

/// The service API of a DPS. A clone shares its connection.
///
/// Each method gives a [`Call`] or [`Pager`], which fails with a
/// [`ServiceError`](crate::ServiceError) once it is awaited.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service routes, 2021-10-01.
#[derive(Debug, Clone)]
pub struct DpsService {
    client: Arc<Client>,
}

impl DpsService {
    /// The DPS that the login names.
    ///
    /// # Errors
    /// [`TrustError`] if the certificates to trust cannot be read.
    pub fn new(login: ServiceLogin, options: &ServiceOptions) -> Result<Self, TrustError> {
        Ok(Self { client: Arc::new(Client::secure(login, options, DPS_API_VERSION)?) })
    }

    pub(crate) const fn of(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// An individual enrollment. Its symmetric keys are not shown: see
    /// [`enrollment_attestation`](Self::enrollment_attestation).
    pub fn enrollment(&self, registration_id: &str) -> Call<IndividualEnrollment> {
        self.call(Method::GET, http::enrollment(registration_id))
    }

    /// Makes an enrollment; 409 if there is one. The answer holds its keys.
    pub fn create_enrollment(&self, enrollment: &IndividualEnrollment) -> Call<IndividualEnrollment> {
        self.call(Method::PUT, http::enrollment(&enrollment.registration_id)).json(enrollment)
    }

    /// Replaces an enrollment if it has still the etag of this one; any if this one has none.
    pub fn update_enrollment(&self, enrollment: &IndividualEnrollment) -> Call<IndividualEnrollment> {
        self.create_enrollment(enrollment).if_match(enrollment.settings.etag.as_deref().unwrap_or("*"))
    }

    /// Deletes an enrollment, whatever its etag unless [`Call::if_match`] says so.
    pub fn delete_enrollment(&self, registration_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::enrollment(registration_id))
    }

    /// All individual enrollments.
    pub fn enrollments(&self) -> Pager<IndividualEnrollment> {
        self.query_enrollments("SELECT * FROM enrollments")
    }

    /// Individual enrollments, as a query of the service says.
    pub fn query_enrollments(&self, query: impl Into<String>) -> Pager<IndividualEnrollment> {
        Pager::new(&self.client, "/enrollments/query", Some(query.into()))
    }

    /// Up to ten individual enrollments at once. What was refused is in the answer.
    pub fn bulk_enrollments(&self, bulk: &EnrollmentBulk) -> Call<BulkResult> {
        self.call(Method::POST, "/enrollments").json(bulk).tells_bulk()
    }

    /// How devices of an enrollment prove who they are, with their keys.
    pub fn enrollment_attestation(&self, registration_id: &str) -> Call<Attestation> {
        let path = format!("{}/attestationmechanism", http::enrollment(registration_id));
        self.call(Method::POST, path).asks()
    }
}

impl DpsService {
    /// An enrollment group. Its symmetric keys are not shown: see
    /// [`group_attestation`](Self::group_attestation).
    pub fn group(&self, enrollment_group_id: &str) -> Call<EnrollmentGroup> {
        self.call(Method::GET, http::enrollment_group(enrollment_group_id))
    }

    /// Makes a group; 409 if there is one. The answer holds its keys.
    pub fn create_group(&self, group: &EnrollmentGroup) -> Call<EnrollmentGroup> {
        self.call(Method::PUT, http::enrollment_group(&group.enrollment_group_id)).json(group)
    }

    /// Replaces a group if it has still the etag of this one; any if this one has none.
    pub fn update_group(&self, group: &EnrollmentGroup) -> Call<EnrollmentGroup> {
        self.create_group(group).if_match(group.settings.etag.as_deref().unwrap_or("*"))
    }

    /// Deletes a group, whatever its etag unless [`Call::if_match`] says so.
    pub fn delete_group(&self, enrollment_group_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::enrollment_group(enrollment_group_id))
    }

    /// All groups.
    pub fn groups(&self) -> Pager<EnrollmentGroup> {
        self.query_groups("SELECT * FROM enrollmentGroups")
    }

    /// Groups, as a query of the service says.
    pub fn query_groups(&self, query: impl Into<String>) -> Pager<EnrollmentGroup> {
        Pager::new(&self.client, "/enrollmentGroups/query", Some(query.into()))
    }

    /// Up to ten groups at once. What was refused is in the answer.
    pub fn bulk_groups(&self, bulk: &EnrollmentGroupBulk) -> Call<BulkResult> {
        self.call(Method::POST, "/enrollmentGroups").json(bulk).tells_bulk()
    }

    /// How devices of a group prove who they are, with the keys that theirs are derived from.
    pub fn group_attestation(&self, enrollment_group_id: &str) -> Call<Attestation> {
        let path = format!("{}/attestationmechanism", http::enrollment_group(enrollment_group_id));
        self.call(Method::POST, path).asks()
    }
}

impl DpsService {
    /// The record of a registration.
    pub fn registration(&self, registration_id: &str) -> Call<RegistrationState> {
        self.call(Method::GET, http::registration(registration_id))
    }

    /// Forgets a registration; the device's identity at its hub stays.
    pub fn delete_registration(&self, registration_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::registration(registration_id))
    }

    /// The records of a group.
    pub fn registrations(&self, enrollment_group_id: &str) -> Pager<RegistrationState> {
        Pager::new(&self.client, format!("{}/query", http::registration(enrollment_group_id)), None)
    }

    /// Anything else that the API has: a path that begins with `/`, ids percent-encoded
    /// ([`segment`](http::segment)).
    pub fn call<T: DeserializeOwned>(&self, method: Method, path: impl Into<String>) -> Call<T> {
        Call::new(&self.client, method, path)
    }
}
