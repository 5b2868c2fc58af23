//! The parts of the API that only enrollment groups have.

use hubward_proto::service::{BulkError, BulkMode, EnrollmentGroup, EnrollmentGroupBulk};

use super::kind::Kind;
use crate::state::model::{Entry, State, Table};

impl Kind for EnrollmentGroup {
    /// Source: `[seen]` on a training page by Microsoft.
    const MISSING: (u32, &'static str) = (404_204, "The enrollment group was not found.");
    /// Source: `[guess]` by analogy with enrollments, where 409201 belongs to 404201.
    const EXISTS: u32 = 409_204;

    const ITEM_TYPE: &'static str = "enrollmentGroup";
    const TABLE: &'static str = "enrollmentGroups";
    type Bulk = EnrollmentGroupBulk;

    fn of_bulk(bulk: EnrollmentGroupBulk) -> (BulkMode, Vec<Self>) {
        (bulk.mode, bulk.enrollment_groups)
    }

    fn bulk_error(id: String, error_code: u32, error_status: String) -> BulkError {
        BulkError { enrollment_group_id: Some(id), error_code, error_status, ..BulkError::default() }
    }

    fn entries(state: &State) -> &Table<Entry<Self>> {
        &state.groups
    }

    fn entries_mut(state: &mut State) -> &mut Table<Entry<Self>> {
        &mut state.groups
    }

    fn with_registration(self, _: &State) -> Self {
        self
    }
}
