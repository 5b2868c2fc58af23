//! The part of a seed that hubs know without DPS: devices and their modules, in the registry's JSON.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hubward_proto::service::SymmetricKeys;
use hubward_proto::{DeviceId, ModuleId};
use serde::Deserialize;

use super::enrollment::read_keys;
use super::{Device, EnrollError, KeyPair, Put, State};
use crate::wire_id;

/// A device that a hub knows without DPS, with its modules.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `Device`; `hub` and `modules` are
/// ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SeedDevice {
    /// Its id at the hub.
    pub device_id: String,
    /// The hub; may be absent if the emulator has one only.
    pub hub: Option<String>,
    /// Its keys.
    #[serde(default)]
    pub authentication: SeedAuthentication,
    /// Its modules.
    #[serde(default)]
    pub modules: Vec<SeedModule>,
}

/// A module of a [`SeedDevice`].
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `Module`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SeedModule {
    /// Its id at the device.
    pub module_id: String,
    /// Its keys.
    #[serde(default)]
    pub authentication: SeedAuthentication,
}

/// How a device or module proves who it is: with a shared key.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `AuthenticationMechanism`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedAuthentication {
    /// `sas`; the others are not emulated.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The keys; generated if absent.
    pub symmetric_key: Option<SymmetricKeys>,
}

/// Identities that are checked, and what is to be put into which hub.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// By the hub's name in lower case and the client id: keys that are given, or to be kept.
    identities: BTreeMap<(String, String), (KeyPair, Put)>,
}

/// Checks all, changes nothing. A device that is named again only keeps its modules together.
pub(super) fn check(state: &State, devices: &[SeedDevice]) -> Result<Checked, EnrollError> {
    let mut checked = Checked::default();
    for device in devices {
        DeviceId::new(&device.device_id)?;
        let hub = hub_of(state, device)?;
        checked.note(state, &hub, device.device_id.clone(), &device.authentication)?;
        for module in &device.modules {
            ModuleId::new(&module.module_id)?;
            let client_id = format!("{}/{}", device.device_id, module.module_id);
            checked.note(state, &hub, client_id, &module.authentication)?;
        }
    }
    Ok(checked)
}

fn hub_of(state: &State, device: &SeedDevice) -> Result<String, EnrollError> {
    let mut hubs = state.hubs.keys();
    let named = match (&device.hub, hubs.next(), hubs.next()) {
        (Some(hub), ..) => hub.to_ascii_lowercase(),
        (None, Some(only), None) => only.clone(),
        (None, ..) => String::new(),
    };
    if state.hubs.contains_key(&named) {
        return Ok(named);
    }
    Err(EnrollError::UnknownHub { id: device.device_id.clone(), hub: device.hub.clone().unwrap_or_default() })
}

impl Checked {
    fn note(
        &mut self,
        state: &State,
        hub: &str,
        client_id: String,
        given: &SeedAuthentication,
    ) -> Result<(), EnrollError> {
        if let Some(kind) = given.kind.as_deref().filter(|it| *it != "sas") {
            return Err(EnrollError::NotEmulated { id: client_id, what: format!("the authentication `{kind}`") });
        }
        let before = state.device(hub, &client_id).map(|it| &it.keys);
        let (keys, put) = match (read_keys(&client_id, given.symmetric_key.clone())?, before) {
            (Some(keys), Some(before)) if keys == *before => (keys, Put::Unchanged),
            (Some(keys), Some(_)) => (keys, Put::Updated),
            (Some(keys), None) => (keys, Put::Created),
            (None, Some(before)) => (before.clone(), Put::Unchanged),
            (None, None) => {
                let made =
                    KeyPair::generate().map_err(|problem| EnrollError::Key { id: client_id.clone(), problem })?;
                (made, Put::Created)
            }
        };
        self.identities.insert((hub.to_owned(), client_id), (keys, put));
        Ok(())
    }

    /// What will become of each.
    pub(super) fn puts(&self) -> impl Iterator<Item = Put> {
        self.identities.values().map(|(_, put)| *put)
    }

    /// Puts them into their hubs.
    pub(super) fn put(self, state: &mut State, now: SystemTime) {
        for ((hub, client_id), (keys, put)) in self.identities {
            let Some(hub) = state.hub_mut(&hub) else { continue };
            match (hub.devices.get_mut(&client_id), put) {
                (Some(_), Put::Unchanged) => {}
                (Some(device), _) => {
                    device.keys = keys;
                    device.etag = wire_id::identity_etag();
                }
                (None, _) => {
                    hub.devices.insert(client_id, Device::new(keys, now));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Seed;
    use crate::store::{EnrollError, SeedError, SeedReport, State, apply};
    use std::time::SystemTime;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    fn seed(devices: &str) -> Seed {
        Seed::from_json(&format!("{{\"devices\": {devices}}}")).expect("a seed")
    }

    fn seeded(state: &mut State, devices: &str) -> Result<SeedReport, SeedError> {
        apply(state, &seed(devices), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn devices_and_modules_are_known_with_their_keys() {
        let mut state = State::new(["Hub-1", "hub-2"]);
        let text = format!(
            r#"[{{"deviceId": "d1", "hub": "HUB-1", "status": "enabled",
                 "authentication": {{"type": "sas", "symmetricKey": {{"primaryKey": "{KEY}", "secondaryKey": "{KEY}"}}}},
                 "modules": [{{"moduleId": "m1"}}]}}]"#
        );
        let report = seeded(&mut state, &text).expect("applies");
        assert_eq!(report, SeedReport { created: 2, ..SeedReport::default() });
        assert_eq!(state.device("hub-1", "d1").expect("the device").keys.primary.expose_base64().as_str(), KEY);
        let made = state.device("hub-1", "d1/m1").expect("the module").keys.clone();
        let report = seeded(&mut state, &text).expect("applies again");
        assert_eq!(report, SeedReport { unchanged: 2, ..SeedReport::default() });
        assert_eq!(state.device("hub-1", "d1/m1").expect("the module").keys, made);
        let other = text.replace("AAEC", "BBEC");
        let report = seeded(&mut state, &other).expect("applies");
        assert_eq!(report, SeedReport { updated: 1, unchanged: 1, ..SeedReport::default() });
        assert!(state.device("hub-2", "d1").is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_as_a_whole() {
        for (devices, expected) in [
            (r#"[{"deviceId": "ok", "hub": "hub-1"}, {"deviceId": "d 1", "hub": "hub-1"}]"#, "not valid"),
            (r#"[{"deviceId": "ok", "hub": "hub-1"}, {"deviceId": "d1"}]"#, "which is not linked"),
            (r#"[{"deviceId": "d1", "hub": "hub-3"}]"#, "`hub-3`, which is not linked"),
            (r#"[{"deviceId": "d1", "hub": "hub-1", "modules": [{"moduleId": "m 1"}]}]"#, "not valid"),
            (r#"[{"deviceId": "d1", "hub": "hub-1", "authentication": {"type": "selfSigned"}}]"#, "not emulated"),
            (
                r#"[{"deviceId": "d1", "hub": "hub-1", "authentication": {"symmetricKey": {"primaryKey": "AAEC"}}}]"#,
                "has no usable key",
            ),
        ] {
            let mut state = State::new(["hub-1", "hub-2"]);
            let Err(SeedError::Enrollment(error)) = seeded(&mut state, devices) else { panic!("{devices} applies") };
            assert!(error.to_string().contains(expected), "{devices}: {error}");
            assert!(state.hubs.values().all(|it| it.devices.is_empty()), "{devices}");
        }
        let mut state = State::new(["only"]);
        seeded(&mut state, r#"[{"deviceId": "d1"}]"#).expect("an only hub need not be named");
        assert!(state.device("only", "d1").is_some());
        let none = EnrollError::UnknownHub { id: "d".into(), hub: String::new() };
        assert_eq!(seeded(&mut State::default(), r#"[{"deviceId": "d"}]"#), Err(none.into()));
    }
}
