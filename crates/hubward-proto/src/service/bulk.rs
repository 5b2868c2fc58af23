//! Many enrollments in one request, and questions for many.

use serde::{Deserialize, Serialize};

use super::{EnrollmentGroup, IndividualEnrollment};
use crate::dps::model::word;

word! {
    /// What a bulk request does to each of its enrollments.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models.
    BulkMode {
        /// Creates them.
        Create = "create",
        /// Updates them, whatever their etags.
        Update = "update",
        /// Updates those whose etag is the one in the request.
        UpdateIfMatchEtag = "updateIfMatchETag",
        /// Deletes them.
        Delete = "delete",
    }
}

/// Many individual enrollments.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentOperation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnrollmentBulk {
    /// What is to be done.
    pub mode: BulkMode,
    /// To these; ten at most.
    pub enrollments: Vec<IndividualEnrollment>,
}

/// Many enrollment groups.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentGroupOperation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentGroupBulk {
    /// What is to be done.
    pub mode: BulkMode,
    /// To these; ten at most.
    pub enrollment_groups: Vec<EnrollmentGroup>,
}

/// What became of a bulk request.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentOperationResult`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether all of it was done.
    pub is_successful: bool,
    /// What was not done.
    #[serde(default)]
    pub errors: Vec<BulkError>,
}

/// Why one enrollment of a bulk request was refused.
///
/// Source: `[doc]` azure-rest-api-specs, `BulkEnrollmentOperationError`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BulkError {
    /// Which individual enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// Which group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// Why, as a number of the service.
    pub error_code: u32,
    /// Why, in words.
    pub error_status: String,
}

/// A question for many enrollments.
///
/// Source: `[doc]` azure-rest-api-specs, `QuerySpecification`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySpecification {
    /// In the service's SQL.
    pub query: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_writes_the_documented_bulk() {
        let text = json!({"mode": "updateIfMatchETag", "enrollments": [{"registrationId": "d1"}]});
        let bulk: EnrollmentBulk = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!((&bulk.mode, bulk.enrollments.len()), (&BulkMode::UpdateIfMatchEtag, 1));
        assert_eq!(serde_json::to_value(&bulk).expect("JSON"), text);
        let text = json!({"mode": "create", "enrollmentGroups": [{"enrollmentGroupId": "g"}]});
        let bulk: EnrollmentGroupBulk = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(serde_json::to_value(&bulk).expect("JSON"), text);
    }

    #[test]
    fn reads_and_writes_the_documented_result() {
        let done = BulkResult { is_successful: true, errors: Vec::new() };
        assert_eq!(serde_json::to_string(&done).expect("JSON"), r#"{"isSuccessful":true,"errors":[]}"#);
        let text = json!({"isSuccessful": false, "errors": [{"registrationId": "d1", "errorCode": 409_000, "errorStatus": "x"}]});
        let result: BulkResult = serde_json::from_value(text.clone()).expect("the documented JSON");
        assert_eq!(serde_json::to_value(&result).expect("JSON"), text);
        let query: QuerySpecification =
            serde_json::from_str(r#"{"query":"SELECT * FROM enrollments"}"#).expect("the documented JSON");
        assert_eq!(query.query, "SELECT * FROM enrollments");
    }
}
