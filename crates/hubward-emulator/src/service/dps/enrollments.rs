//! What only individual enrollments have.

use hubward_proto::service::{BulkError, BulkMode, EnrollmentBulk, IndividualEnrollment};

use super::kind::Kind;
use crate::store::{Entry, State, Table};

impl Kind for IndividualEnrollment {
    /// Source: `[guess]` from `[sdk]` azure-iot-sdk-csharp, ProvisioningE2ETests.cs.
    const MISSING: (u32, &'static str) = (404_201, "The enrollment was not found.");

    const ITEM_TYPE: &'static str = "enrollment";
    const TABLE: &'static str = "enrollments";
    type Bulk = EnrollmentBulk;

    fn of_bulk(bulk: EnrollmentBulk) -> (BulkMode, Vec<Self>) {
        (bulk.mode, bulk.enrollments)
    }

    fn bulk_error(id: String, error_code: u32, error_status: String) -> BulkError {
        BulkError { registration_id: Some(id), error_code, error_status, ..BulkError::default() }
    }

    fn entries(state: &State) -> &Table<Entry<Self>> {
        &state.individuals
    }

    fn entries_mut(state: &mut State) -> &mut Table<Entry<Self>> {
        &mut state.individuals
    }

    /// Source: `[sdk]` azure-iot-sdk-csharp, issue 3478: the registration is shown with a single
    /// enrollment, not in queries.
    fn with_registration(mut self, state: &State) -> Self {
        let record = state.records.get(&self.registration_id.to_ascii_lowercase());
        self.registration_state = record.map(|it| it.state.clone());
        self
    }
}
