//! Bulk requests for identities.

use std::collections::BTreeSet;
use std::time::SystemTime;

use hubward_proto::service::{
    DeviceBulkError, DeviceBulkResult, DeviceOperation, HubRefusal, ImportMode, OperationCode,
};
use serde_json::{Map, Value};

use super::identity::{self, IdentityRequest, find};
use super::problem::Problem;
use super::registry::{self, Mode};
use super::twins::without_own_names;
use super::{ApiResponse, IfMatch, check_twin_etag, read};
use crate::services::cloud::Cloud;
use crate::services::hub::{Code, TwinProblem, change_twin};
use crate::state::clock::timestamp;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Change, State, Twin};

const MODES: [ImportMode; 9] = [
    ImportMode::Create,
    ImportMode::CreateOrUpdate,
    ImportMode::CreateOrUpdateIfMatchEtag,
    ImportMode::Update,
    ImportMode::UpdateIfMatchEtag,
    ImportMode::Delete,
    ImportMode::DeleteIfMatchEtag,
    ImportMode::UpdateTwin,
    ImportMode::UpdateTwinIfMatchEtag,
];

/// Source: `[doc]` the REST page "Bulk Registry - Update Registry".
const MAX: usize = 100;

/// Processes the identities in order. If the hub refuses one identity, the hub still processes the remaining
/// identities.
///
/// Source: `[doc]` the REST page "Bulk Registry - Update Registry": at most 100 identities. If an identity is
/// refused, the status is 400, and the body has the same format as with 200.
pub(super) fn answer(cloud: &Cloud, hub: &str, body: &[u8]) -> Result<ApiResponse, Problem> {
    let operations = operations(read(body, b'[')?)?;
    if operations.is_empty() {
        return Err(Problem::invalid("The request has no identities."));
    }
    if operations.len() > MAX {
        return Err(Problem::new(Code::TooManyDevices, "A bulk request must have one to 100 identities."));
    }
    once_each(&operations)?;
    let now = cloud.clock.now();
    let mut notes = Vec::new();
    let errors: Vec<DeviceBulkError> = cloud.store.change(|state| {
        let one = |operation: DeviceOperation| {
            let mode = mode(operation.import_mode.as_ref());
            let (device_id, module_id) = (operation.id.clone(), operation.module_id.clone());
            let done = identity::client_id(&device_id, module_id.as_deref()).and_then(|client_id| {
                let kind = apply(state, hub, &client_id, &mode, operation, now)?;
                notes.extend(kind.map(|it| Note::new(it, EventSource::HubService).hub(hub).id(&client_id)));
                Ok(())
            });
            let problem = done.err()?;
            let mut error = DeviceBulkError::default();
            (error.device_id, error.module_id) = (Some(device_id), module_id);
            error.error_code = OperationCode::Number(problem.code);
            (error.error_status, error.operation) = (Some(problem.message), Some(mode.to_string()));
            Some(error)
        };
        operations.into_iter().filter_map(one).collect()
    });
    notes.into_iter().for_each(|it| cloud.journal.note(it));
    let is_successful = errors.is_empty();
    let mut done = ApiResponse::json(&DeviceBulkResult { is_successful, errors, warnings: Vec::new() });
    if !is_successful {
        done.status = Code::BulkRegistryOperationFailure.status();
        done.headers.push((HubRefusal::HEADER, Code::BulkRegistryOperationFailure.name()));
    }
    Ok(done)
}

/// Refuses the whole request if it contains an identity twice. Two modules of one device are two identities.
///
/// Source: `[seen]` Azure/azure-iot-sdk-csharp, issue 3481.
fn once_each(operations: &[DeviceOperation]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for DeviceOperation { id, module_id, .. } in operations {
        let module_id = module_id.as_deref().unwrap_or_default();
        if !seen.insert((id, module_id)) {
            let slash = if module_id.is_empty() { "" } else { "/modules/" };
            return Err(Problem::new(Code::DeviceDefinedMultipleTimes, format!("{id}{slash}{module_id}")));
        }
    }
    Ok(())
}

/// Parses the identities of a request. The member is called `eTag` in requests, but `etag` in responses. Some clients
/// send an identity back as they received it, so this function accepts both names.
///
/// Source: `[sdk]` azure-iothub (Node), registry.js, which sends identities back as it received them.
fn operations(items: Vec<Map<String, Value>>) -> Result<Vec<DeviceOperation>, Problem> {
    let one = |mut item: Map<String, Value>| {
        if let Some(etag) = item.remove("etag") {
            item.entry("eTag").or_insert(etag);
        }
        // Omit the message of the parser: the message may quote a value, and some values are keys.
        let wrong = |_| Problem::new(Code::IotHubFormatError, "An identity does not have the expected structure.");
        serde_json::from_value(item.into()).map_err(wrong)
    };
    items.into_iter().map(one).collect()
}

/// Source: `[sdk]` azure-iothub (Node), registry.js, which writes `Update` and `Delete`.
fn mode(word: Option<&ImportMode>) -> ImportMode {
    let Some(word) = word else { return ImportMode::CreateOrUpdate };
    let known = MODES.iter().find(|it| it.as_str().eq_ignore_ascii_case(word.as_str()));
    known.unwrap_or(word).clone()
}

/// Applies one operation. If the hub refuses the operation, the identity does not change.
///
/// Returns the kind of the event that the caller must write to the journal. Returns `None` if the operation creates or
/// deletes an identity, because the store itself then writes the event.
///
/// Source: `[doc]` iot-hub/iot-hub-bulk-identity-mgmt.md, `importMode`; `[seen]` recordings of azure-sdk-for-net,
/// `DevicesClient_BulkCreation_DeviceWithTwin`: the twin of a new identity starts with the tags and desired properties
/// of the request.
///
/// `[guess]`: if the identity exists, the hub merges the tags and desired properties into its twin, except in the
/// modes that delete.
///
/// `[guess]`: the hub keeps `managedBy`, because bulk requests do not contain it.
fn apply(
    state: &mut State,
    hub: &str,
    client_id: &str,
    mode: &ImportMode,
    operation: DeviceOperation,
    now: SystemTime,
) -> Result<Option<EventKind>, Problem> {
    let etag = |etag: Option<&str>, insists: bool| match (insists, etag.map(IfMatch::parse)) {
        (false, _) => Ok(IfMatch::Any),
        (true, Some(it @ (IfMatch::Etag(_) | IfMatch::Any))) => Ok(it),
        (true, _) => Err(Problem::invalid(format!("The mode {mode} requires an etag."))),
    };
    let insists = matches!(
        mode,
        ImportMode::CreateOrUpdateIfMatchEtag | ImportMode::UpdateIfMatchEtag | ImportMode::DeleteIfMatchEtag
    );
    let put = match mode {
        ImportMode::Create => Some(Mode::Create),
        ImportMode::CreateOrUpdate | ImportMode::CreateOrUpdateIfMatchEtag => Some(Mode::CreateOrUpdate),
        ImportMode::Update | ImportMode::UpdateIfMatchEtag => Some(Mode::Update),
        ImportMode::Delete | ImportMode::DeleteIfMatchEtag => {
            let etag = etag(operation.etag.as_deref(), insists)?;
            return registry::remove(state, hub, client_id, &etag).map(|()| None);
        }
        ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatchEtag => None,
        unknown => return Err(Problem::invalid(format!("Unknown importMode `{unknown}`."))),
    };
    let tags = operation.tags;
    let desired = operation.properties.and_then(|it| it.desired).map(without_own_names);
    let twin_etag = if *mode == ImportMode::UpdateTwinIfMatchEtag {
        etag(operation.twin_etag.as_deref(), true)?
    } else {
        IfMatch::Any
    };
    let kind = if let Some(put) = put {
        // An ETag is required only if the identity already exists: a new identity has no ETag yet.
        let insists = insists && !(put == Mode::CreateOrUpdate && find(state, hub, client_id).is_err());
        let if_match = etag(operation.etag.as_deref(), insists)?;
        identity::no_edge(
            operation.capabilities,
            operation.device_scope.as_deref(),
            operation.parent_scopes.as_deref(),
        )?;
        let enabled = identity::status(operation.status, operation.status_reason.as_deref())?;
        if client_id.contains('/') && (enabled == Some(false) || operation.status_reason.is_some()) {
            // Accept `enabled` for a module: an export writes it for every module.
            return Err(Problem::invalid("A module has no status of its own; disable its device instead."));
        }
        let requested = IdentityRequest {
            authentication: identity::authentication(operation.authentication)?,
            enabled,
            status_reason: operation.status_reason,
            managed_by: find(state, hub, client_id).ok().and_then(|it| it.managed_by.clone()),
        };
        let now_text = timestamp(now);
        if find(state, hub, client_id).is_err() {
            let twin = first_twin(tags.as_ref(), desired.as_ref(), &now_text)?;
            registry::apply(state, hub, client_id, requested, put, &if_match, now)?;
            if let (Some(twin), Some(device)) = (twin, state.device_mut(hub, client_id)) {
                device.twin = twin;
            }
            // For a new identity, the store writes the event.
            return Ok(None);
        }
        let (tags, desired) = (tags.clone().map(Change::Merge), desired.clone().map(Change::Merge));
        // Change a copy of the twin first. If the hub refuses the changed copy, the identity must not change.
        let mut twin = find(state, hub, client_id)?.twin.clone();
        twin.update(tags.as_ref(), desired.as_ref(), &now_text).map_err(TwinProblem::from)?;
        registry::apply(state, hub, client_id, requested, put, &if_match, now)?;
        Some(EventKind::DeviceUpdated)
    } else {
        find(state, hub, client_id)?;
        Some(EventKind::TwinUpdated)
    };
    if put.is_none() || tags.is_some() || desired.is_some() {
        let (tags, desired) = (tags.map(Change::Merge), desired.map(Change::Merge));
        let fits = |etag: &str| check_twin_etag(&twin_etag, client_id, etag);
        change_twin(state, hub, client_id, tags.as_ref(), desired.as_ref(), now, fits)?;
    }
    Ok(kind)
}

/// Returns the twin of a new identity, or `None` if the request contains no tags and no desired properties.
fn first_twin(
    tags: Option<&Map<String, Value>>,
    desired: Option<&Map<String, Value>>,
    now: &str,
) -> Result<Option<Twin>, TwinProblem> {
    if tags.is_none() && desired.is_none() {
        return Ok(None);
    }
    let none = Map::new();
    Ok(Some(Twin::first(tags.unwrap_or(&none), desired.unwrap_or(&none), now)?))
}
