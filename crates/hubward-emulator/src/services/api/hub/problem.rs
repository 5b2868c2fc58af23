//! Errors of the hub service API, and their format.

use std::time::SystemTime;

use hubward_proto::service::HubRefusal;

use super::super::if_match::Unreadable;
use crate::services::hub::{Code, InvokeError, SendProblem, TwinProblem};
use crate::state::clock::timestamp;
use crate::state::model::EnrollError;
use crate::state::wire_id;

/// An error in the response of a hub to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: u32,
    /// The value of the error header.
    pub(crate) name: String,
    pub(crate) message: String,
}

/// The two formats of a hub's error bodies.
///
/// Source:
///
/// * both formats: `[sdk]` azure-iot-sdk-csharp, ExceptionHandlingHelper.cs and its tests;
/// * the first format at twins and queries: `[seen]` Azure/azure-iot-cli-extension, issue 693, and
///   Azure/azure-iot-sdks, issue 941;
/// * the first format at the registry: `[seen]` many traces.
///
/// The second format has been seen for methods only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `ErrorCode:{name};{message}`.
    Named,
    /// JSON inside a string.
    Nested,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { status: code.status(), code: code.number(), name: code.name(), message: message.into() }
    }

    /// An error for which no six-digit code is documented. The code is the HTTP status followed by three zeros.
    pub(crate) fn generic(status: u16, message: impl Into<String>) -> Self {
        let name = match status {
            400 => "GenericBadRequest",
            404 => "GenericNotFound",
            405 => "GenericMethodNotAllowed",
            413 => "GenericRequestEntityTooLarge",
            415 => "GenericUnsupportedMediaType",
            421 => "GenericMisdirectedRequest",
            501 => "GenericNotImplemented",
            _ => "InvalidErrorCode",
        };
        Self { status, code: u32::from(status) * 1000, name: name.to_owned(), message: message.into() }
    }

    /// An operation that the emulator does not support.
    pub(crate) fn not_emulated(what: &str) -> Self {
        Self::generic(501, format!("The emulator does not emulate {what}."))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ArgumentInvalid, message)
    }

    /// The identity does not exist.
    pub(crate) fn missing(client_id: &str) -> Self {
        Self::new(Code::not_found(client_id), client_id.replace('/', "/modules/"))
    }

    /// Returns the body of the response, and the request id that the body contains.
    pub(crate) fn body(&self, now: SystemTime, form: Form) -> (String, String) {
        let id = wire_id::guid();
        let mut refusal = HubRefusal::new(self.code, &self.message);
        refusal.name = Some(self.name.clone());
        let body = match form {
            Form::Named => {
                refusal.tracking_id = Some(format!("{id}-G:0-TimeStamp:{}", american(now)));
                refusal.to_named()
            }
            Form::Nested => {
                (refusal.tracking_id, refusal.timestamp) = (Some(id.clone()), Some(timestamp(now)));
                refusal.to_nested()
            }
        };
        (body.to_string(), id)
    }

    /// An error for a missing twin. For a missing module, the message is the same as for a missing device.
    ///
    /// Source: `[seen]` by mwalser/terraform-provider-iothub, CONCEPT.md.
    pub(crate) fn missing_twin(client_id: &str) -> Self {
        Self::new(Code::DeviceNotFound, client_id.replace('/', "/modules/"))
    }
}

/// A timestamp in the format `10/18/2022 20:50:39`.
fn american(at: SystemTime) -> String {
    let text = timestamp(at);
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    format!("{}/{}/{} {}", part(5..7), part(8..10), part(0..4), part(11..19))
}

impl From<TwinProblem> for Problem {
    fn from(problem: TwinProblem) -> Self {
        Self::new(problem.as_code(), problem.to_string())
    }
}

impl From<InvokeError> for Problem {
    fn from(problem: InvokeError) -> Self {
        Self::new(problem.as_code(), problem.to_string())
    }
}

impl From<SendProblem> for Problem {
    fn from(problem: SendProblem) -> Self {
        Self::new(problem.as_code(), problem.to_string())
    }
}

/// Source: `[guess]`: 400, as for any other invalid body.
impl From<EnrollError> for Problem {
    fn from(problem: EnrollError) -> Self {
        Self::invalid(format!("The request is refused: {problem}."))
    }
}

impl From<Unreadable> for Problem {
    fn from(_: Unreadable) -> Self {
        Self::invalid(Unreadable::MESSAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracking_ids_contain_an_american_timestamp() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_666_126_239);
        assert_eq!(american(at), "10/18/2022 20:50:39");
    }

    #[test]
    fn names_are_those_of_the_service() {
        for code in Code::ALL {
            assert_eq!(hubward_proto::service::name_of(code.number()), Some(code.name().as_str()), "{code:?}");
        }
    }
}
