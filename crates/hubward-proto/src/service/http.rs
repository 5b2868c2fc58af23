//! Versions, headers and paths of the two service APIs.
//!
//! Each id is percent-encoded as one segment of a path.

use crate::percent::encode;

/// The version of the DPS service API that hubward speaks.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service, 2021-10-01; `[sdk]`
/// azure-iot-provisioning-service (Node).
pub const DPS_API_VERSION: &str = "2021-10-01";

/// The version of the hub service API that hubward speaks.
///
/// Source: `[sdk]` azure-iot-hub (Python), azure-iothub (Node).
pub const HUB_API_VERSION: &str = "2021-04-12";

/// Header of a query: the maximum number of items per page.
pub const MAX_ITEM_COUNT: &str = "x-ms-max-item-count";

/// Header with the continuation token of a query. An answer contains the token of the next page, and the request for
/// the next page repeats this token.
///
/// The answer with the last page does not contain this header.
pub const CONTINUATION: &str = "x-ms-continuation";

/// Header of an answer to a query: the type of its items.
pub const ITEM_TYPE: &str = "x-ms-item-type";

/// Header of a request: the id that the caller chose for it.
pub const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";

/// Header of an answer: the id that the service chose for the request.
pub const REQUEST_ID: &str = "x-ms-request-id";

/// Encodes a text as one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    encode(text).to_string()
}

/// Returns the path of an individual enrollment.
#[must_use]
pub fn enrollment(registration_id: &str) -> String {
    format!("/enrollments/{}", encode(registration_id))
}

/// Returns the path of an enrollment group.
#[must_use]
pub fn enrollment_group(enrollment_group_id: &str) -> String {
    format!("/enrollmentGroups/{}", encode(enrollment_group_id))
}

/// Returns the path of a registration record. To query the records of a group, pass the id of the group and append
/// `/query`.
#[must_use]
pub fn registration(id: &str) -> String {
    format!("/registrations/{}", encode(id))
}

/// Returns the path of the certificate of an authority. In Azure, this path follows the path of the DPS or hub at Azure
/// Resource Manager. At the emulator's admin port, it follows `/api`.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager.
#[must_use]
pub fn certificate(name: &str) -> String {
    format!("/certificates/{}", encode(name))
}

/// Returns the path of a device identity.
#[must_use]
pub fn device(device_id: &str) -> String {
    format!("/devices/{}", encode(device_id))
}

/// Returns the path of a module identity.
#[must_use]
pub fn module(device_id: &str, module_id: &str) -> String {
    format!("/devices/{}/modules/{}", encode(device_id), encode(module_id))
}

/// Returns the path of the twin of a device or module.
#[must_use]
pub fn twin(device_id: &str, module_id: Option<&str>) -> String {
    match module_id {
        None => format!("/twins/{}", encode(device_id)),
        Some(module_id) => format!("/twins/{}/modules/{}", encode(device_id), encode(module_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_one_segment() {
        for (path, expected) in [
            (enrollment("a:b"), "/enrollments/a%3Ab"),
            (enrollment_group("line-7"), "/enrollmentGroups/line-7"),
            (registration("a.b_c"), "/registrations/a.b_c"),
            (certificate("root 1"), "/certificates/root%201"),
            (device("a/b#c"), "/devices/a%2Fb%23c"),
            (module("d%1", "m?"), "/devices/d%251/modules/m%3F"),
            (twin("d 1", None), "/twins/d%201"),
            (twin("d+1", Some("$edgeAgent")), "/twins/d%2B1/modules/%24edgeAgent"),
        ] {
            assert_eq!(path, expected);
        }
    }
}
