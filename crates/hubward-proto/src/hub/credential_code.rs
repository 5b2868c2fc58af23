//! The error codes of certificate requests at a hub: what they mean, and whether a retry can help.
//!
//! The documentation and the SDKs name other codes than the live service sends. The constants are the live ones.
//!
//! Source: `[seen]` azure-iot-sdk-csharp, branch feature/iot-csr-preview, `csr-scenarions.md` (a live run of
//! 2026-01-30); for the other codes, `[doc]` Azure/azure-iot-sdk and `[sdk]` its C client.

use std::time::Duration;

/// A member of the request is not valid: the id, the certificate request, `replace`, or an unknown member.
pub const ARGUMENT_INVALID: u32 = 400_004;

/// The body is not JSON.
pub const MALFORMED_JSON: u32 = 400_006;

/// The certificate request is base64, but not a valid request. The hub reports this after its answer 202.
pub const CSR_REFUSED: u32 = 400_037;

/// The hub does not issue certificates to this device. `[guess]`: the source names this code for the tier of the hub.
pub const NOT_AVAILABLE: u32 = 403_010;

/// Another request of the device is pending. `info` names it.
pub const ALREADY_PENDING: u32 = 409_004;

/// The request that `replace` names does not exist.
pub const REPLACED_UNKNOWN: u32 = 412_001;

/// Returns a short explanation of an error code. Returns `None` for a code that no source explains.
#[must_use]
pub const fn meaning(error_code: u32) -> Option<&'static str> {
    Some(match error_code {
        ARGUMENT_INVALID => "a member of the request is not valid",
        MALFORMED_JSON => "the body of the request is not JSON",
        CSR_REFUSED | 400_040 => "the hub could not use the certificate request",
        NOT_AVAILABLE => "the tier of the hub does not include certificates",
        ALREADY_PENDING | 409_005 => "another certificate request of the device is pending",
        REPLACED_UNKNOWN | 412_005 => "the request to replace does not exist",
        429_002 | 429_003 => "too many certificate requests at this moment",
        500_001 => "the service failed",
        503_001 | 503_102 => "the service is not available at this moment",
        _ => return None,
    })
}

/// Returns whether another request of the device is pending, so that only a request with `replace` can succeed.
#[must_use]
pub const fn is_pending(status: u16, error_code: Option<u32>) -> bool {
    matches!(error_code, Some(ALREADY_PENDING | 409_005)) || (status == 409 && error_code.is_none())
}

/// Returns whether the request that `replace` names does not exist, so that only a request without `replace` can
/// succeed.
#[must_use]
pub const fn is_replaced_unknown(status: u16, error_code: Option<u32>) -> bool {
    matches!(error_code, Some(REPLACED_UNKNOWN | 412_005)) || (status == 412 && error_code.is_none())
}

/// Returns how long to wait before the first retry if the hub names no time. Returns `None` if the same request cannot
/// succeed later.
#[must_use]
pub const fn first_wait(status: u16, error_code: Option<u32>) -> Option<Duration> {
    Some(Duration::from_secs(match (status, error_code) {
        (_, Some(500_001)) => 300,
        (429, _) => 1,
        (408 | 500.., _) => 5,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        let seconds = |it| Some(Duration::from_secs(it));
        for (status, code, pending, unknown, wait) in [
            (400, Some(400_004), false, false, None),
            (400, Some(400_037), false, false, None),
            (403, Some(403_010), false, false, None),
            (409, Some(409_004), true, false, None),
            (409, Some(409_005), true, false, None),
            (409, None, true, false, None),
            (409, Some(409_999), false, false, None),
            (412, Some(412_001), false, true, None),
            (412, Some(412_005), false, true, None),
            (412, None, false, true, None),
            (429, Some(429_002), false, false, seconds(1)),
            (429, None, false, false, seconds(1)),
            (500, Some(500_001), false, false, seconds(300)),
            (500, None, false, false, seconds(5)),
            (503, Some(503_001), false, false, seconds(5)),
        ] {
            assert_eq!(is_pending(status, code), pending, "{status} {code:?}");
            assert_eq!(is_replaced_unknown(status, code), unknown, "{status} {code:?}");
            assert_eq!(first_wait(status, code), wait, "{status} {code:?}");
        }
        for code in [400_004, 400_006, 400_037, 400_040, 403_010, 409_004, 409_005, 412_001, 412_005, 429_002, 503_102]
        {
            assert!(meaning(code).is_some(), "{code}");
        }
        assert_eq!(meaning(400_999), None);
    }
}
