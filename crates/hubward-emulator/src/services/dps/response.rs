//! Responses of DPS, independent of the transport.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hubward_proto::dps::{RegistrationOperation, ServiceError};
use serde::Serialize;

use crate::state::clock::timestamp;
use crate::state::wire_id;

/// A response of DPS. The door encodes it for HTTP or MQTT.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DpsResponse {
    /// The HTTP status. Over MQTT it is part of the topic.
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The value of Retry-After.
    pub(crate) retry_after: Option<String>,
    /// The error code of the body, for errors only.
    pub(crate) error_code: Option<u32>,
    /// The request id. In an error, it is also the tracking id.
    pub(crate) request_id: String,
    pub(crate) content_type: String,
}

impl DpsResponse {
    /// The status of a registration.
    pub(crate) fn operation(status: u16, operation: &RegistrationOperation, retry_after: Option<String>) -> Self {
        Self { retry_after, ..Self::json(status, operation) }
    }

    /// A response with a JSON body.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        Self {
            status,
            body: serde_json::to_vec(body).expect("the models of the service always serialize"),
            retry_after: None,
            error_code: None,
            request_id: wire_id::guid(),
            content_type: hubward_proto::dps::http::CONTENT_TYPE.to_owned(),
        }
    }

    /// An error response with the body format of the service.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `ProvisioningServiceErrorDetails`.
    pub(crate) fn error(refusal: &Refusal, now: SystemTime) -> Self {
        let mut error = ServiceError::default();
        let request_id = wire_id::guid();
        error.error_code = Some(refusal.code);
        error.tracking_id = Some(request_id.clone());
        error.message = Some(refusal.message.clone());
        error.timestamp_utc = Some(timestamp(now));
        error.info = refusal.info.clone();
        Self { error_code: Some(refusal.code), request_id, ..Self::json(refusal.status, &error) }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) info: Option<BTreeMap<String, String>>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), info: None }
    }

    /// A refusal for which no six-digit code is documented. The code is the HTTP status followed by three zeros.
    ///
    /// Source: `[guess]` from 401000, "generic".
    pub(crate) fn generic(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, u32::from(status) * 1000, message)
    }

    /// Source: `[seen]` many issue traces.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, 401_002, "Unauthorized")
    }

    /// Source: `[sdk]` azure-iot-sdk-csharp, ProvisioningE2ETests.cs for the code.
    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(404, 404_201, message)
    }
}
