//! The DPS part of a seed: registration records.

use hubward_proto::RegistrationId;
use hubward_proto::dps::RegistrationState;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::enroll_error::EnrollError;
use super::put::{Existing, Put};
use super::{Assigned, Record, State, levels};

/// The registration record of a device.
///
/// Source: `[doc]` azure-rest-api-specs, `DeviceRegistrationState`; the members after `state` are our additions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedRegistration {
    /// The registration state that the service returns.
    #[serde(flatten)]
    pub state: RegistrationState,
    /// The enrollment group, if the device registered through one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// The payload of the device's registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_payload: Option<Value>,
    /// The current assignment of the device, even after a failed registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned: Option<SeedAssigned>,
}

/// An assignment to a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedAssigned {
    /// The hub.
    pub hub: String,
    /// The device id at that hub.
    pub device_id: String,
}

impl SeedRegistration {
    pub(crate) fn of(record: &Record) -> Self {
        let Record { state, group, received_payload, assigned, issued: _ } = record.clone();
        let assigned = assigned.map(|Assigned { hub, device_id }| SeedAssigned { hub, device_id });
        Self { state, enrollment_group_id: group, received_payload, assigned }
    }

    fn record(&self) -> Record {
        let Self { state, enrollment_group_id, received_payload, assigned } = self.clone();
        let assigned = assigned.map(|SeedAssigned { hub, device_id }| Assigned { hub, device_id });
        Record { state, group: enrollment_group_id, received_payload, assigned, issued: None }
    }
}

/// Checks all registrations of a seed, and changes nothing. Returns three values for each registration: the key, the
/// record, and whether the record is created, updated or unchanged when the caller stores it.
pub(crate) fn check(
    state: &State,
    registrations: &[SeedRegistration],
    existing: Existing,
) -> Result<Vec<(String, Record, Put)>, EnrollError> {
    let mut checked = Vec::new();
    for registration in registrations {
        let record = registration.record();
        let id = record.state.registration_id.clone().unwrap_or_default();
        RegistrationId::new(&id)?;
        for kept in [&record.received_payload, &record.state.payload, &record.state.symmetric_key, &record.state.x509] {
            levels::check(&id, "a payload of its registration", kept)?;
        }
        let hubs = record.state.assigned_hub.iter().chain(record.assigned.iter().map(|it| &it.hub));
        for hub in hubs {
            if state.hub(hub).is_none() {
                return Err(EnrollError::UnknownHub { id, hub: hub.clone() });
            }
        }
        let id = id.to_ascii_lowercase();
        let put = match state.records.get(&id) {
            None => Put::Created,
            Some(before) if (Record { issued: None, ..before.clone() }) == record || existing == Existing::Keep => {
                Put::Unchanged
            }
            Some(_) => Put::Updated,
        };
        checked.push((id, record, put));
    }
    Ok(checked)
}
