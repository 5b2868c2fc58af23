//! Bulk requests for enrollments, and queries.

use serde::{Deserialize, Serialize};

use super::{EnrollmentGroup, IndividualEnrollment};
use crate::dps::model::word;

word! {
    /// The operation that a bulk request performs on each of its enrollments.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    BulkMode {
        /// Creates the enrollments.
        Create = "create",
        /// Updates the enrollments without comparing ETags.
        Update = "update",
        /// Updates the enrollments whose ETag matches the request.
        UpdateIfMatchEtag = "updateIfMatchETag",
        /// Deletes the enrollments.
        Delete = "delete",
    }
}

/// A bulk request for individual enrollments.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentOperation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnrollmentBulk {
    /// The operation.
    pub mode: BulkMode,
    /// The enrollments; at most 10.
    pub enrollments: Vec<IndividualEnrollment>,
}

/// A bulk request for enrollment groups.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentGroupOperation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentGroupBulk {
    /// The operation.
    pub mode: BulkMode,
    /// The groups; at most 10.
    pub enrollment_groups: Vec<EnrollmentGroup>,
}

/// The result of a bulk request.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentOperationResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether all operations succeeded.
    pub is_successful: bool,
    /// The operations that failed.
    #[serde(default)]
    pub errors: Vec<BulkError>,
}

/// Why one enrollment of a bulk request was refused.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentOperationError`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BulkError {
    /// The registration id of the individual enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// The id of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// The service's error code.
    pub error_code: u32,
    /// The service's error message.
    pub error_status: String,
}

/// A query for enrollments.
///
/// Source: `[doc]` azure-rest-api-specs, `QuerySpecification`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySpecification {
    /// The query, in the service's SQL dialect.
    pub query: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_and_encodes_the_documented_bulk() {
        let text = json!({"mode": "updateIfMatchETag", "enrollments": [{"registrationId": "d1"}]});
        let bulk: EnrollmentBulk = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!((&bulk.mode, bulk.enrollments.len()), (&BulkMode::UpdateIfMatchEtag, 1));
        assert_eq!(serde_json::to_value(&bulk).expect("JSON"), text);
        let text = json!({"mode": "create", "enrollmentGroups": [{"enrollmentGroupId": "g"}]});
        let bulk: EnrollmentGroupBulk = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(serde_json::to_value(&bulk).expect("JSON"), text);
    }

    #[test]
    fn parses_and_encodes_the_documented_result() {
        let done = BulkResult { is_successful: true, errors: Vec::new() };
        assert_eq!(serde_json::to_string(&done).expect("JSON"), r#"{"isSuccessful":true,"errors":[]}"#);
        let error = json!({"registrationId": "d1", "errorCode": 409_000, "errorStatus": "x"});
        let text = json!({"isSuccessful": false, "errors": [error]});
        let result: BulkResult = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(serde_json::to_value(&result).expect("JSON"), text);
        let query: QuerySpecification =
            serde_json::from_str(r#"{"query":"SELECT * FROM enrollments"}"#).expect("the documented JSON");
        assert_eq!(query.query, "SELECT * FROM enrollments");
    }
}
