//! The error codes of DPS: what they mean, and whether a retry can help.

/// The cause of a refusal, according to its status and error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The service does not accept the device's identity: wrong key, wrong or expired token, or unknown registration
    /// id. The status does not say which of these is the cause.
    Credential,
    /// The service did not find the resource: wrong id scope, or an unknown operation.
    NotFound,
    /// Another client registers the same id at the same time.
    Conflict,
    /// Too many requests.
    Throttled,
    /// The service failed.
    Server,
    /// The request is not valid; repeating it does not help.
    Request,
}

/// Returns the cause of a refusal. `status` is the HTTP status; over MQTT, it is the status in the topic. `error_code`
/// is the error code in the body.
///
/// Source: `[doc]` iot-dps/how-to-troubleshoot-dps.md for the classes; `[sdk]` azure-sdk-for-c for the rule that the
/// first three digits of the code name the class.
#[must_use]
pub fn cause(status: u16, error_code: Option<u32>) -> Cause {
    let class = match status {
        // An answer with a success status (2xx) can report a failure in its body. Then the error code in the body
        // determines the class. In all other cases, the status determines the class.
        200..300 => error_code.and_then(|it| u16::try_from(it / 1000).ok()).unwrap_or(status),
        _ => status,
    };
    match class {
        401 | 403 => Cause::Credential,
        404 => Cause::NotFound,
        409 => Cause::Conflict,
        429 => Cause::Throttled,
        408 | 500.. => Cause::Server,
        _ => Cause::Request,
    }
}

impl Cause {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Throttled | Self::Server)
    }
}

/// Returns a short explanation of an error code. Returns `None` for a code that no source explains.
///
/// Source: `[sdk]` azure-iot-sdk-c, prov_device_ll_client.c; `[seen]` traces in issues.
#[must_use]
pub const fn meaning(error_code: u32) -> Option<&'static str> {
    Some(match error_code {
        400_207 => "the custom allocation webhook answered with an error",
        400_208 => "no hub was found for the device: the enrollment names no linked hub",
        400_209 => "the custom allocation webhook was not allowed or not reachable",
        401_000 | 401_002 => "wrong key, wrong or expired token, or unknown registration id",
        404_201 | 404_202 | 404_204 => "no such registration or enrollment",
        409_201 | 409_204 => "the enrollment exists already",
        409_203 => "another client registers the same id at this moment",
        429_001 => "too many registrations at this moment",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_before_the_code() {
        for (status, code, cause, retry) in [
            (400, Some(400_207), Cause::Request, false),
            (401, Some(401_002), Cause::Credential, false),
            (404, Some(404_201), Cause::NotFound, false),
            (405, None, Cause::Request, false),
            (409, Some(409_203), Cause::Conflict, true),
            (412, None, Cause::Request, false),
            (415, None, Cause::Request, false),
            (429, Some(429_001), Cause::Throttled, true),
            (500, None, Cause::Server, true),
            (503, Some(503_001), Cause::Server, true),
            (200, Some(429_001), Cause::Throttled, true),
            (200, None, Cause::Request, false),
        ] {
            assert_eq!(super::cause(status, code), cause, "{status} {code:?}");
            assert_eq!(super::cause(status, code).is_retryable(), retry, "{status} {code:?}");
        }
    }
}
