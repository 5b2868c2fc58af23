//! The parts of the API that only individual enrollments have.

use hubward_proto::service::{BulkError, BulkMode, EnrollmentBulk, IndividualEnrollment};

use super::kind::Kind;
use crate::state::model::{Entry, State, Table};

impl Kind for IndividualEnrollment {
    /// Source: `[sdk]` azure-iot-sdk-csharp, ProvisioningE2ETests.cs; `[seen]` MicrosoftDocs/azure-docs, issue
    /// 57082, and a public Java program of 2023.
    const MISSING: (u32, &'static str) = (404_201, "The enrollment was not found.");
    /// Source: `[seen]` a public Java program of 2023 handles this code.
    const EXISTS: u32 = 409_201;

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

    /// Source: `[sdk]` azure-iot-sdk-csharp, issue 3478: a GET of an enrollment returns the registration, a query
    /// does not.
    fn with_registration(mut self, state: &State) -> Self {
        let record = state.records.get(&self.registration_id.to_ascii_lowercase());
        self.registration_state = record.map(|it| it.state.clone());
        self
    }
}
