//! The assignment of a device to its hub, as commands print it.

use hubward::Assignment;
use serde_json::{Value, json};

/// The part of an assignment that a command prints.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AssignmentFacts {
    pub(crate) registration_id: Option<String>,
    pub(crate) device_id: String,
    pub(crate) hub: String,
    pub(crate) substatus: Option<String>,
    pub(crate) payload: Option<Value>,
}

impl From<&Assignment> for AssignmentFacts {
    fn from(it: &Assignment) -> Self {
        let state = &it.state;
        Self {
            registration_id: state.registration_id.as_ref().map(ToString::to_string),
            device_id: it.device_id.to_string(),
            hub: it.hub.to_string(),
            substatus: state.substatus.as_ref().map(|it| it.as_str().to_owned()),
            payload: state.payload.clone(),
        }
    }
}

impl AssignmentFacts {
    /// The fields of the JSON line.
    pub(super) fn json(&self) -> Value {
        json!({
            "registrationId": self.registration_id,
            "deviceId": self.device_id,
            "assignedHub": self.hub,
            "substatus": self.substatus,
            "payload": self.payload,
        })
    }
}
