//! The devices and modules of a seed, in the JSON of the registry.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hubward_proto::service::{SymmetricKeys, X509Thumbprint};
use hubward_proto::{DeviceId, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::enroll_error::EnrollError;
use super::enrollment::read_keys;
use super::put::{Existing, Put};
use super::{
    Device, DeviceAuthentication, DeviceStatus, EndReason, Issuance, Key, KeyPair, Parts, State, Thumbprints, Twin,
};
use crate::state::clock::timestamp;
use crate::state::wire_id;

/// A device of a hub, with its modules.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `Device` and `Twin`; `hub` and `modules` are our
/// additions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedDevice {
    /// The device id.
    pub device_id: String,
    /// The hub; optional if the emulator has only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Whether the device may connect; enabled by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DeviceStatus>,
    /// The operator's comment on the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The keys of the device.
    pub authentication: SeedAuthentication,
    /// How the hub issues certificates to the device. Absent if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuance: Option<SeedIssuance>,
    /// The tags of the twin.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// The properties of the twin.
    #[serde(skip_serializing_if = "SeedProperties::is_empty")]
    pub properties: SeedProperties,
    /// The modules of the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<SeedModule>,
}

/// How a hub issues certificates to a device. The device has got its first certificate from DPS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedIssuance {
    /// The credential policy.
    pub credential_policy_name: String,
    /// The id in each certificate of the device.
    pub unique_id: String,
}

impl SeedIssuance {
    pub(super) fn of(issuance: &Issuance) -> Self {
        let Issuance { policy, unique_id, pending: _ } = issuance.clone();
        Self { credential_policy_name: policy, unique_id }
    }

    fn issuance(&self) -> Issuance {
        Issuance { policy: self.credential_policy_name.clone(), unique_id: self.unique_id.clone(), pending: None }
    }
}

/// A module of a [`SeedDevice`].
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `Module` and `Twin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedModule {
    /// The module id.
    pub module_id: String,
    /// The keys of the module.
    pub authentication: SeedAuthentication,
    /// The tags of the twin.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub tags: Map<String, Value>,
    /// The properties of the twin.
    #[serde(skip_serializing_if = "SeedProperties::is_empty")]
    pub properties: SeedProperties,
}

/// The properties of a twin, without versions and metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedProperties {
    /// The desired properties.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub desired: Map<String, Value>,
    /// The reported properties.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub reported: Map<String, Value>,
}

impl SeedProperties {
    fn is_empty(&self) -> bool {
        self.desired.is_empty() && self.reported.is_empty()
    }
}

/// How a device or module authenticates: with a shared key or with a certificate.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `AuthenticationMechanism`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SeedAuthentication {
    /// `sas`, `selfSigned` or `certificateAuthority`; `sas` if absent. Other types are not emulated.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The keys for `sas`; generated if absent.
    pub symmetric_key: Option<SymmetricKeys>,
    /// The thumbprints for `selfSigned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509_thumbprint: Option<X509Thumbprint>,
}

/// Checked identities, with the hub of each.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// The identities by hub (in lower case) and client id.
    identities: BTreeMap<(String, String), (Device, Put)>,
}

/// The values of an identity in a seed.
struct SeedIdentity<'a> {
    authentication: &'a SeedAuthentication,
    issuance: Option<Issuance>,
    status: DeviceStatus,
    status_reason: Option<&'a str>,
    parts: Parts,
}

/// Checks all devices and modules of a seed, and changes nothing. A seed may add modules to an existing device.
pub(crate) fn check(
    state: &State,
    devices: &[SeedDevice],
    existing: Existing,
    now: SystemTime,
) -> Result<Checked, EnrollError> {
    let mut checked = Checked::default();
    let parts = |tags: &Map<String, Value>, SeedProperties { desired, reported }: &SeedProperties| Parts {
        tags: tags.clone(),
        desired: desired.clone(),
        reported: reported.clone(),
    };
    for device in devices {
        DeviceId::new(&device.device_id)?;
        let hub = hub_of(state, device)?;
        let given = SeedIdentity {
            authentication: &device.authentication,
            issuance: device.issuance.as_ref().map(SeedIssuance::issuance),
            status: device.status.unwrap_or(DeviceStatus::Enabled),
            status_reason: device.status_reason.as_deref(),
            parts: parts(&device.tags, &device.properties),
        };
        checked.note(state, &hub, device.device_id.clone(), given, existing, now)?;
        for module in &device.modules {
            ModuleId::new(&module.module_id)?;
            let client_id = format!("{}/{}", device.device_id, module.module_id);
            let given = SeedIdentity {
                authentication: &module.authentication,
                issuance: None,
                status: DeviceStatus::Enabled,
                status_reason: None,
                parts: parts(&module.tags, &module.properties),
            };
            checked.note(state, &hub, client_id, given, existing, now)?;
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
        given: SeedIdentity<'_>,
        existing: Existing,
        now: SystemTime,
    ) -> Result<(), EnrollError> {
        let SeedIdentity { authentication, issuance, status, status_reason, parts } = given;
        let refused = |problem| EnrollError::Twin { id: client_id.clone(), problem };
        let twin = Twin::of(&parts, &timestamp(now)).map_err(refused)?;
        let given = read_authentication(&client_id, authentication)?;
        let enabled = status == DeviceStatus::Enabled;
        let noted = match state.device(hub, &client_id) {
            None => {
                let device = Device::new(given.map_or_else(|| new_keys(&client_id), Ok)?, now);
                let status_reason = status_reason.map(str::to_owned);
                (Device { enabled, status_reason, issuance, twin, ..device }, Put::Created)
            }
            Some(before) => {
                let mut device = before.clone();
                if authentication.kind.as_deref() == Some("sas")
                    && given.is_none()
                    && device.authentication.keys().is_none()
                {
                    device.authentication = new_keys(&client_id)?;
                }
                device.authentication = given.unwrap_or(device.authentication);
                let mut changed = device.authentication != before.authentication;
                if existing == Existing::Replace {
                    if (device.enabled, device.status_reason.as_deref()) != (enabled, status_reason) {
                        (device.enabled, device.status_reason) = (enabled, status_reason.map(str::to_owned));
                        device.status_updated = timestamp(now);
                        changed = true;
                    }
                    // An import keeps the pending request of an unchanged device.
                    if device.issuance.as_ref().map(SeedIssuance::of) != issuance.as_ref().map(SeedIssuance::of) {
                        device.issuance = issuance;
                        changed = true;
                    }
                    if device.twin.parts() != parts {
                        device.twin.replace(&parts, &timestamp(now)).map_err(refused)?;
                        changed = true;
                    }
                }
                if changed {
                    device.etag = wire_id::identity_etag();
                }
                (device, if changed { Put::Updated } else { Put::Unchanged })
            }
        };
        self.identities.insert((hub.to_owned(), client_id), noted);
        Ok(())
    }

    /// The effects on the identities.
    pub(crate) fn puts(&self) -> impl Iterator<Item = Put> {
        self.identities.values().map(|(_, put)| *put)
    }

    /// Stores the identities in their hubs. Closes the connection of each identity that changed.
    pub(crate) fn put(self, state: &mut State) {
        for ((host, client_id), (device, put)) in self.identities {
            if put == Put::Unchanged {
                continue;
            }
            let enabled = device.enabled;
            if let Some(hub) = state.hub_mut(&host) {
                hub.devices.insert(client_id.clone(), device);
            }
            if enabled {
                state.live.close(&Key::Hub(host, client_id), EndReason::NotAllowed);
            } else {
                // Also closes the connections of its modules.
                state.close_device(&host, &client_id);
            }
        }
    }
}

/// Returns the authentication in a seed. Returns `None` if the seed has neither keys nor thumbprints, and no type other
/// than `sas`. An existing identity then keeps its keys.
fn read_authentication(id: &str, given: &SeedAuthentication) -> Result<Option<DeviceAuthentication>, EnrollError> {
    let SeedAuthentication { kind, symmetric_key, x509_thumbprint } = given.clone();
    let keys = read_keys(id, symmetric_key)?;
    let thumbprints = x509_thumbprint.filter(|it| *it != X509Thumbprint::default());
    let wrong = |problem: &str| Err(EnrollError::Authentication { id: id.to_owned(), problem: problem.to_owned() });
    match (kind.as_deref().unwrap_or("sas"), keys, thumbprints) {
        ("sas", keys, None) => Ok(keys.map(DeviceAuthentication::Sas)),
        ("sas", _, Some(_)) => wrong("the type sas must not have thumbprints"),
        ("selfSigned" | "certificateAuthority", Some(_), _) => wrong("only the type sas has symmetric keys"),
        ("selfSigned", None, thumbprints) => match Thumbprints::new(thumbprints.unwrap_or_default()) {
            Ok(thumbprints) => Ok(Some(DeviceAuthentication::SelfSigned(thumbprints))),
            Err(problem) => wrong(problem),
        },
        ("certificateAuthority", None, None) => Ok(Some(DeviceAuthentication::CertificateAuthority)),
        ("certificateAuthority", None, Some(_)) => wrong("only the type selfSigned has thumbprints"),
        (kind, ..) => Err(EnrollError::NotEmulated { id: id.to_owned(), what: format!("the authentication `{kind}`") }),
    }
}

fn new_keys(id: &str) -> Result<DeviceAuthentication, EnrollError> {
    let keys = KeyPair::generate().map_err(|problem| EnrollError::Key { id: id.to_owned(), problem })?;
    Ok(DeviceAuthentication::Sas(keys))
}

#[cfg(test)]
mod tests {
    use crate::Seed;
    use crate::state::model::{EnrollError, SeedError, SeedReport, State, apply};
    use std::time::SystemTime;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    fn seed(devices: &str) -> Seed {
        Seed::from_json(&format!("{{\"devices\": {devices}}}")).expect("a seed")
    }

    fn seeded(state: &mut State, devices: &str) -> Result<SeedReport, SeedError> {
        apply(state, &seed(devices), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn devices_and_modules_are_created_with_their_keys() {
        let mut state = State::new(["Hub-1", "hub-2"]);
        let text = format!(
            r#"[{{"deviceId": "d1", "hub": "HUB-1", "status": "enabled",
                 "authentication": {{
                    "type": "sas",
                    "symmetricKey": {{"primaryKey": "{KEY}", "secondaryKey": "{KEY}"}}
                 }},
                 "modules": [{{"moduleId": "m1"}}]}}]"#
        );
        let report = seeded(&mut state, &text).expect("applies");
        assert_eq!(report, SeedReport { created: 2, ..SeedReport::default() });
        assert_eq!(state.device("hub-1", "d1").expect("the device").keys().primary.expose_base64().as_str(), KEY);
        let made = state.device("hub-1", "d1/m1").expect("the module").keys().clone();
        let report = seeded(&mut state, &text).expect("applies again");
        assert_eq!(report, SeedReport { unchanged: 2, ..SeedReport::default() });
        assert_eq!(*state.device("hub-1", "d1/m1").expect("the module").keys(), made);
        let other = text.replace("AAEC", "BBEC");
        let report = seeded(&mut state, &other).expect("applies");
        assert_eq!(report, SeedReport { updated: 1, unchanged: 1, ..SeedReport::default() });
        assert!(state.device("hub-2", "d1").is_none());
    }

    #[test]
    fn an_invalid_seed_is_refused_as_a_whole() {
        for (devices, expected) in [
            (r#"[{"deviceId": "ok", "hub": "hub-1"}, {"deviceId": "d 1", "hub": "hub-1"}]"#, "not valid"),
            (r#"[{"deviceId": "ok", "hub": "hub-1"}, {"deviceId": "d1"}]"#, "which is not linked"),
            (r#"[{"deviceId": "d1", "hub": "hub-3"}]"#, "`hub-3`, which is not linked"),
            (r#"[{"deviceId": "d1", "hub": "hub-1", "modules": [{"moduleId": "m 1"}]}]"#, "not valid"),
            (r#"[{"deviceId": "d1", "hub": "hub-1", "authentication": {"type": "none"}}]"#, "not emulated"),
            (r#"[{"deviceId": "d1", "hub": "hub-1", "authentication": {"type": "selfSigned"}}]"#, "a thumbprint"),
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
