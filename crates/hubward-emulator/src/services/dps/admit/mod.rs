//! Authenticates a device at DPS and finds its enrollment.

mod certificate;
mod token;

use hubward_proto::{IdScope, RegistrationId};
use hubward_sas::{SasToken, UnixSeconds};

use super::response::Refusal;
use crate::services::presented::PresentedChain;
use crate::state::model::{DeviceAuthentication, State};

/// The device that sends a request. The ids come from the path (HTTPS) or the user name (MQTT).
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) id_scope: IdScope,
    pub(crate) registration_id: RegistrationId,
    /// The token, if the request has one that can be parsed.
    pub(crate) token: Option<SasToken>,
    /// The certificates that the client presented in the TLS handshake. If the request also has a token, the token
    /// counts.
    pub(crate) certificates: Option<PresentedChain>,
    /// The `api-version` of the request.
    pub(crate) api_version: String,
}

impl Caller {
    /// Whether the request is for the DPS of this id scope.
    pub(crate) fn is_of(&self, id_scope: &str) -> bool {
        self.id_scope.as_str().eq_ignore_ascii_case(id_scope)
    }

    /// The device's key in the store.
    pub(crate) fn key(&self) -> String {
        self.registration_id.as_str().to_ascii_lowercase()
    }
}

/// The enrollment of an authenticated device, and how the device authenticates at its hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The group's key in the store; `None` for an individual enrollment.
    pub(crate) group: Option<String>,
    /// The authentication of the device at its hub. For a device of a group with keys, its keys are derived from the
    /// keys of the group. For a device with a certificate, this is the thumbprint of the certificate.
    pub(crate) authentication: DeviceAuthentication,
    pub(crate) enabled: bool,
    /// The hub to which a scripted fault moved the device. This hub takes precedence over the hubs of the enrollment.
    pub(crate) moved_to: Option<String>,
}

/// Why a request of a device is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The response to the device.
    pub(crate) refusal: Refusal,
    /// The reason for the refusal. The journal contains the reason, but the response to the device does not.
    pub(crate) why: String,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self { why: refusal.message.clone(), refusal }
    }
}

impl Denial {
    /// The usual response for a device that is not allowed to register.
    pub(super) fn unauthorized(why: &str) -> Self {
        Self { refusal: Refusal::unauthorized(), why: why.to_owned() }
    }
}

/// Authenticates a device by its token or certificate, and finds its enrollment.
///
/// A disabled enrollment still authenticates the device; see [`Admitted::enabled`].
///
/// Source: `[doc]` iot-dps/concepts-service.md; `[sdk]` azure-iot-cli-extension, integration tests. `[guess]`, from
/// iot-dps/how-to-troubleshoot-dps.md: over HTTPS, a foreign id scope gets 404. `[guess]`: if a device sends a token
/// and presents a certificate, the token decides.
pub(crate) fn admit(state: &State, id_scope: &str, caller: &Caller, now: UnixSeconds) -> Result<Admitted, Denial> {
    if !caller.is_of(id_scope) {
        return Err(Refusal::not_found("The ID scope does not exist.").into());
    }
    match (&caller.token, &caller.certificates) {
        (Some(token), _) => token::admit(state, caller, token, now),
        (None, Some(chain)) => certificate::admit(state, caller, chain, now),
        (None, None) => {
            Err(Denial::unauthorized("neither a client certificate nor a SAS token, or a token that cannot be read"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
    use hubward_sas::SharedKey;

    use super::*;
    use crate::state::model::{KeyPair, complete};

    const SCOPE: &str = "0ne00000001";
    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    struct World {
        state: State,
        individual: KeyPair,
        group: KeyPair,
    }

    fn world() -> World {
        let mut state = State::new(["localhost"]);
        let (entry, _) = complete(IndividualEnrollment::new("dev-1"), None, SystemTime::UNIX_EPOCH).expect("valid");
        let individual = entry.proof.keys().expect("keys").clone();
        state.individuals.insert("dev-1".into(), entry);
        let (entry, _) = complete(EnrollmentGroup::new("g"), None, SystemTime::UNIX_EPOCH).expect("valid");
        let group = entry.proof.keys().expect("keys").clone();
        state.groups.insert("g".into(), entry);
        World { state, individual, group }
    }

    fn refused(state: &State, id_scope: &str, caller: &Caller) -> Refusal {
        admit(state, id_scope, caller, NOW).expect_err("refused").refusal
    }

    fn caller(id: &str, key: &SharedKey, resource: &str, expiry: u64, policy: Option<&str>) -> Caller {
        Caller {
            id_scope: IdScope::new(SCOPE).expect("scope"),
            registration_id: RegistrationId::new(id).expect("id"),
            token: Some(SasToken::sign(key, resource, UnixSeconds(expiry), policy)),
            certificates: None,
            api_version: "2021-06-01".into(),
        }
    }

    #[test]
    fn either_key_is_accepted_and_letter_case_does_not_matter() {
        let World { state, individual, group } = world();
        let (ours, until) = ("0ne00000001/registrations/dev-1", NOW.0 + 60);
        let group_key = group.primary.derive("sn-1");
        let group_key_2 = group.secondary.derive("sn-1");
        for (caller, expected) in [
            (caller("dev-1", &individual.primary, ours, until, None), None),
            (caller("dev-1", &individual.secondary, ours, until, Some("registration")), None),
            (caller("DEV-1", &individual.primary, "0ne00000001/registrations/dev-1", until, None), None),
            (caller("sn-1", &group_key, "0ne00000001/registrations/sn-1", until, Some("registration")), Some("g")),
            (caller("sn-1", &group_key_2, "0ne00000001/registrations/sn-1", until, None), Some("g")),
            (caller("dev-1", &individual.primary, ours, NOW.0 - 290, None), None),
        ] {
            let admitted = admit(&state, SCOPE, &caller, NOW).expect("admitted");
            assert_eq!(admitted.group.as_deref(), expected, "{caller:?}");
            assert!(admitted.enabled);
        }
    }

    #[test]
    fn everything_else_is_unauthorized() {
        let World { state, individual, group } = world();
        let (ours, until) = ("0ne00000001/registrations/dev-1", NOW.0 + 60);
        let other_key = SharedKey::generate().expect("a key");
        let mut nameless = caller("dev-1", &individual.primary, ours, until, None);
        nameless.token = None;
        for caller in [
            nameless,
            caller("dev-1", &other_key, ours, until, None),
            caller("dev-2", &individual.primary, "0ne00000001/registrations/dev-2", until, None),
            caller("dev-1", &individual.primary, "0ne00000001/registrations/dev-2", until, None),
            caller("dev-1", &individual.primary, "0ne00000001/registrations", until, None),
            caller("dev-1", &individual.primary, ours, NOW.0 - 301, None),
            caller("dev-1", &individual.primary, ours, until, Some("provisioningserviceowner")),
            // `dev-1` has an individual enrollment, so a key of a group is not valid for it.
            caller("dev-1", &group.primary.derive("dev-1"), ours, until, None),
            // The group's own key is not a device key.
            caller("sn-1", &group.primary, "0ne00000001/registrations/sn-1", until, None),
            // Derivation is case-sensitive.
            caller("SN-1", &group.primary.derive("sn-1"), "0ne00000001/registrations/sn-1", until, None),
        ] {
            assert_eq!(refused(&state, SCOPE, &caller), Refusal::unauthorized(), "{caller:?}");
        }
        let foreign = caller("dev-1", &individual.primary, ours, until, None);
        assert_eq!(refused(&state, "0ne00000002", &foreign).code, 404_201);
    }

    #[test]
    fn only_a_caller_with_the_key_learns_that_the_device_is_disabled() {
        let World { mut state, individual, .. } = world();
        let entry = state.individuals.get_mut("dev-1").expect("enrolled");
        entry.model.settings.provisioning_status = Some(ProvisioningStatus::Disabled);
        let ours = "0ne00000001/registrations/dev-1";
        let admitted = admit(&state, SCOPE, &caller("dev-1", &individual.primary, ours, NOW.0, None), NOW);
        assert!(!admitted.expect("it has the key").enabled);
        let wrong_key = caller("dev-1", &SharedKey::generate().expect("a key"), ours, NOW.0, None);
        assert_eq!(refused(&state, SCOPE, &wrong_key), Refusal::unauthorized());
    }
}
