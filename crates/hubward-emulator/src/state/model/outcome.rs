//! The outcome of a message to a device, and the outcomes for which the sender of the message requests feedback.

use serde::{Deserialize, Serialize};

/// The outcomes for which the sender of a message requests feedback.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// No outcome.
    None,
    /// The device completed the message.
    Positive,
    /// The hub gave up the message.
    Negative,
    /// Both.
    Full,
}

impl Ack {
    /// The value of `iothub-ack`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    pub(super) const fn wants(self, outcome: Outcome) -> bool {
        match self {
            Self::None => false,
            Self::Positive => matches!(outcome, Outcome::Success),
            Self::Negative => !matches!(outcome, Outcome::Success),
            Self::Full => true,
        }
    }
}

/// The outcome of a message. The variants have the service's names.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-messages-c2d.md, "Message feedback". `Rejected` is missing, because a
/// device cannot reject a message over MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// The device acknowledged the message, or the hub delivered the message with QoS 0.
    Success,
    /// The message expired.
    Expired,
    /// The hub delivered the message the maximum number of times.
    DeliveryCountExceeded,
    /// The queue was purged.
    Purged,
}

impl Outcome {
    /// The value in a feedback record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Purged => "Purged",
        }
    }
}
