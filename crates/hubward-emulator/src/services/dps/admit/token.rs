//! Judges a SAS token.

use hubward_proto::dps::{SAS_POLICY, sas_resource};
use hubward_sas::{SasToken, UnixSeconds};

use super::{Admitted, Caller, Denial};
use crate::state::model::{DeviceAuthentication, KeyPair, State};

/// Finds the enrollment whose key signed the token.
///
/// If the registration id has an individual enrollment, only the keys of this enrollment are valid. Otherwise, the
/// device needs a key that is derived from the key of an enrollment group.
pub(super) fn admit(state: &State, caller: &Caller, token: &SasToken, now: UnixSeconds) -> Result<Admitted, Denial> {
    let refuse = |why: &str| Err(Denial::unauthorized(why));
    if !token.is_for(&sas_resource(&caller.id_scope, &caller.registration_id)) {
        return refuse("the token is for another resource");
    }
    if token.policy().is_some_and(|it| it != SAS_POLICY) {
        return refuse("the token names a policy other than `registration`");
    }
    if token.is_expired(now) {
        return refuse("the token has expired");
    }
    let admitted = |group: Option<&String>, keys: KeyPair, enabled| Admitted {
        group: group.cloned(),
        authentication: DeviceAuthentication::Sas(keys),
        enabled,
        moved_to: None,
    };
    if let Some(entry) = state.individuals.get(&caller.key()) {
        let Some(keys) = entry.proof.keys() else {
            return refuse("its individual enrollment requires a certificate, and the device sent a token");
        };
        if !keys.signed(token) {
            return refuse("bad signature for its individual enrollment");
        }
        return Ok(admitted(None, keys.clone(), entry.model.settings.is_enabled()));
    }
    for (name, entry) in &state.groups {
        let Some(keys) = entry.proof.keys() else { continue };
        let keys = keys.derive(caller.registration_id.as_str());
        if keys.signed(token) {
            return Ok(admitted(Some(name), keys, entry.model.settings.is_enabled()));
        }
    }
    refuse("no individual enrollment, and no group whose derived key made the token")
}
