//! Operations for individual enrollments and for groups: create, update, get, delete.

use std::collections::BTreeSet;

use hubward_proto::service::{AllocationPolicy, Attestation, BulkError, BulkMode, ProvisioningStatus, SymmetricKeys};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{IfMatch, check_etag};
use crate::services::dps::Refusal;
use crate::state::clock::timestamp;
use crate::state::model::{
    EnrollError, Entry, KeyPair, Model, Proof, Put, State, Table, complete, linked, named_authorities, named_policy,
};
use crate::state::wire_id;

/// A kind of enrollment.
pub(super) trait Kind: Model + Serialize + DeserializeOwned + 'static {
    /// Code and message if the enrollment does not exist.
    const MISSING: (u32, &'static str);
    /// Code if the enrollment exists already.
    const EXISTS: u32;
    /// The item type of a query's response.
    const ITEM_TYPE: &'static str;
    /// The name of the collection in a query.
    const TABLE: &'static str;
    /// The model of a bulk request.
    type Bulk: DeserializeOwned;

    fn of_bulk(bulk: Self::Bulk) -> (BulkMode, Vec<Self>);
    fn bulk_error(id: String, error_code: u32, error_status: String) -> BulkError;

    fn entries(state: &State) -> &Table<Entry<Self>>;
    fn entries_mut(state: &mut State) -> &mut Table<Entry<Self>>;
    /// Adds the registration of the enrollment's device to the model.
    fn with_registration(self, state: &State) -> Self;
}

/// Creates the enrollment if the request has no If-Match. Otherwise, updates the enrollment.
///
/// Source: `[sdk]` azure-iot-sdk-csharp, issue 3076, and azure-sdk-for-python, issue 35187: creating an enrollment that
/// exists already gets 409. `[guess]`: the update of a missing enrollment gets 404.
pub(super) fn put<K: Kind>(
    state: &mut State,
    model: K,
    if_match: &IfMatch,
    now: std::time::SystemTime,
) -> Result<Entry<K>, Refusal> {
    check_model(&model)?;
    linked(state, model.id(), model.settings()).map_err(refuse)?;
    named_policy(&state.credential_policies, &[], model.id(), model.settings()).map_err(refuse)?;
    let key = model.id().to_ascii_lowercase();
    let before = K::entries(state).get(&key);
    match (before, if_match) {
        (None, IfMatch::Absent) => {}
        (None, _) => return Err(missing::<K>()),
        (Some(_), IfMatch::Absent) => {
            let message = "The enrollment exists already. To update it, send If-Match with its etag or *.";
            return Err(Refusal::new(409, K::EXISTS, message));
        }
        (Some(before), _) => check_etag(if_match, before.model.settings().etag.as_deref())?,
    }
    let (mut entry, put) = complete(model, before, now).map_err(refuse)?;
    let settings_before = before.map(|it| it.model.settings());
    named_authorities(state, &BTreeSet::new(), entry.model.id(), entry.model.settings(), settings_before)
        .map_err(refuse)?;
    if put == Put::Unchanged {
        // A PUT always creates a new version, even if it changes nothing. (A repeated seed creates no new version.)
        let settings = entry.model.settings_mut();
        settings.etag = Some(wire_id::etag());
        settings.last_updated_date_time_utc = Some(timestamp(now));
    }
    K::entries_mut(state).insert(key, entry.clone());
    Ok(entry)
}

pub(super) fn delete<K: Kind>(state: &mut State, id: &str, if_match: &IfMatch) -> Result<(), Refusal> {
    check_etag(if_match, find::<K>(state, id)?.model.settings().etag.as_deref())?;
    K::entries_mut(state).remove(&id.to_ascii_lowercase());
    Ok(())
}

pub(super) fn find<'a, K: Kind>(state: &'a State, id: &str) -> Result<&'a Entry<K>, Refusal> {
    K::entries(state).get(&id.to_ascii_lowercase()).ok_or_else(missing::<K>)
}

fn missing<K: Kind>() -> Refusal {
    let (code, message) = K::MISSING;
    Refusal::new(404, code, message)
}

/// An enrollment without its keys, as the service returns it.
pub(super) fn shown<K: Kind>(entry: &Entry<K>) -> K {
    let mut model = entry.model.clone();
    model.settings_mut().provisioning_status.get_or_insert(ProvisioningStatus::Enabled);
    model
}

/// The attestation with its keys or certificates.
pub(super) fn attestation<K: Kind>(entry: &Entry<K>) -> Attestation {
    let Proof::Keys(KeyPair { primary, secondary }) = &entry.proof else {
        return entry.model.settings().attestation.clone().unwrap_or_else(|| Attestation::symmetric_key(None));
    };
    let text = |key: &hubward_sas::SharedKey| key.expose_base64().to_string();
    Attestation::symmetric_key(Some(SymmetricKeys { primary_key: text(primary), secondary_key: text(secondary) }))
}

/// Parses a JSON object. An error contains only the position in the text, because the text may contain keys.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // For a struct, `serde` also accepts an array and reads its items as the fields in order. Refuse arrays here.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::generic(400, "The body must be a JSON object."));
    }
    serde_json::from_slice(body).map_err(|problem| {
        let what = if problem.is_data() { "does not have the expected structure" } else { "is not JSON" };
        let (line, column) = (problem.line(), problem.column());
        Refusal::generic(400, format!("The body {what}, at line {line}, column {column}."))
    })
}

/// Checks the rules of this API that do not apply to other sources of enrollments, such as a seed.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service models. `[guess]`: an attestation is
/// required.
fn check_model<K: Kind>(model: &K) -> Result<(), Refusal> {
    let wrong = |message: &str| Err(Refusal::generic(400, message));
    let settings = model.settings();
    if settings.attestation.is_none() {
        return wrong("The attestation is missing.");
    }
    if settings.allocation_policy == Some(AllocationPolicy::Custom) {
        let text = |name| settings.custom_allocation_definition.as_ref().and_then(|it| it.get(name)?.as_str());
        if text("webhookUrl").is_none_or(str::is_empty) || text("apiVersion").is_none_or(str::is_empty) {
            return wrong("The allocationPolicy custom requires webhookUrl and apiVersion.");
        }
    }
    Ok(())
}

/// Source: `[guess]`: 400, as for any other invalid body.
fn refuse(problem: EnrollError) -> Refusal {
    let status = if matches!(problem, EnrollError::NotEmulated { .. }) { 501 } else { 400 };
    Refusal::generic(status, format!("The request is refused: {problem}."))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hubward_proto::service::{EnrollmentGroup, X509Attestation};

    use super::*;

    #[test]
    fn a_group_whose_authority_is_deleted_can_still_be_updated() {
        let mut state = State::new(["localhost"]);
        let certificate = crate::lab::root("root").certificate;
        state.put_authority("root-1", &certificate, true, SystemTime::UNIX_EPOCH).expect("added");
        let group = |secondary: Option<&str>| {
            let mut group = EnrollmentGroup::new("g");
            let x509 = X509Attestation::authorities("root-1", secondary.map(str::to_owned));
            group.settings.attestation = Some(Attestation::x509(x509));
            group
        };
        put(&mut state, group(None), &IfMatch::Absent, SystemTime::UNIX_EPOCH).expect("created");
        state.authorities.remove("root-1");
        put(&mut state, group(None), &IfMatch::Any, SystemTime::UNIX_EPOCH).expect("updated");
        let refusal =
            put(&mut state, group(Some("new")), &IfMatch::Any, SystemTime::UNIX_EPOCH).expect_err("a new name");
        assert_eq!(refusal.status, 400);
    }
}
