//! Errors of a hub: their codes, names and bodies.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::state::clock::timestamp;
use crate::state::wire_id;

/// An error code of a hub. Its first three digits are the HTTP status.
///
/// Source: `[doc]` iot-hub/troubleshoot-error-codes.md; `[sdk]` azure-iot-sdk-csharp, ErrorCode.cs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidProtocolVersion,
    ArgumentInvalid,
    IotHubFormatError,
    DeviceDefinedMultipleTimes,
    BulkRegistryOperationFailure,
    IotHubNotFound,
    IotHubUnauthorizedAccess,
    IotHubUnauthorized,
    DeviceMaximumQueueDepthExceeded,
    DeviceModelMaxPropertiesExceeded,
    DeviceMaximumInflightMethodExceeded,
    DeviceNotFound,
    ModuleNotFound,
    DeviceNotOnline,
    DeviceConnectionClosedRemotely,
    DeviceAlreadyExists,
    ModuleAlreadyExistsOnDevice,
    PreconditionFailed,
    DeviceMessageLockLost,
    MessageTooLarge,
    TooManyDevices,
    TooManyModulesOnDevice,
    GatewayTimeout,
}

impl Code {
    /// All codes.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 23] = [
        Self::InvalidProtocolVersion,
        Self::ArgumentInvalid,
        Self::IotHubFormatError,
        Self::DeviceDefinedMultipleTimes,
        Self::BulkRegistryOperationFailure,
        Self::IotHubNotFound,
        Self::IotHubUnauthorizedAccess,
        Self::IotHubUnauthorized,
        Self::DeviceMaximumQueueDepthExceeded,
        Self::DeviceModelMaxPropertiesExceeded,
        Self::DeviceMaximumInflightMethodExceeded,
        Self::DeviceNotFound,
        Self::ModuleNotFound,
        Self::DeviceNotOnline,
        Self::DeviceConnectionClosedRemotely,
        Self::DeviceAlreadyExists,
        Self::ModuleAlreadyExistsOnDevice,
        Self::PreconditionFailed,
        Self::DeviceMessageLockLost,
        Self::MessageTooLarge,
        Self::TooManyDevices,
        Self::TooManyModulesOnDevice,
        Self::GatewayTimeout,
    ];

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::InvalidProtocolVersion => 400_001,
            Self::ArgumentInvalid => 400_004,
            Self::IotHubFormatError => 400_006,
            Self::DeviceDefinedMultipleTimes => 400_011,
            Self::BulkRegistryOperationFailure => 400_013,
            Self::IotHubNotFound => 401_001,
            Self::IotHubUnauthorizedAccess => 401_002,
            Self::IotHubUnauthorized => 401_003,
            Self::DeviceMaximumQueueDepthExceeded => 403_004,
            Self::DeviceModelMaxPropertiesExceeded => 403_100,
            Self::DeviceMaximumInflightMethodExceeded => 403_800,
            Self::DeviceNotFound => 404_001,
            Self::ModuleNotFound => 404_010,
            Self::DeviceNotOnline => 404_103,
            Self::DeviceConnectionClosedRemotely => 404_104,
            Self::DeviceAlreadyExists => 409_001,
            Self::ModuleAlreadyExistsOnDevice => 409_301,
            Self::PreconditionFailed => 412_001,
            Self::DeviceMessageLockLost => 412_002,
            Self::MessageTooLarge => 413_001,
            Self::TooManyDevices => 413_002,
            Self::TooManyModulesOnDevice => 413_003,
            Self::GatewayTimeout => 504_101,
        }
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }

    /// The value of the header `iothub-errorcode`.
    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    /// The error for an identity that does not exist. For a module, `client_id` is `{device}/{module}`.
    pub(crate) fn not_found(client_id: &str) -> Self {
        if client_id.contains('/') { Self::ModuleNotFound } else { Self::DeviceNotFound }
    }
}

/// Returns the body of an error response to a device. The error of a failed method call also contains this JSON: the
/// service client gets it as a string in the member `Message`.
///
/// Source: `[sdk]` azure-iot-sdk-node, which reads `errorCode` and `message`.
pub(crate) fn error_body(code: u32, message: &str, now: SystemTime) -> Value {
    json!({
        "errorCode": code,
        "trackingId": wire_id::guid(),
        "message": message,
        "timestampUtc": timestamp(now),
    })
}
