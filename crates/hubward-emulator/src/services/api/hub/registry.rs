//! Devices and modules: get, create, update, delete.

use std::time::SystemTime;

use hubward_proto::service as model;

use super::identity::{self, IdentityRequest, check_id, exists, find};
use super::problem::Problem;
use super::{ApiResponse, IfMatch, check_etag, read};
use crate::services::cloud::Cloud;
use crate::services::hub::Code;
use crate::state::clock::timestamp;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{Device, EndReason, Key, State};
use crate::state::wire_id;

/// Source: `[doc]` the REST page "Devices - Get Devices".
const LIST_MAX: usize = 1000;

/// Source: `[doc]` iot-hub/iot-hub-devguide-module-twins.md: at most 50 modules per device; `[seen]`
/// MicrosoftDocs/azure-docs, issue 40485, and Azure/iotedge, issue 3105.
const MODULES_MAX: usize = 50;

/// Lists the devices of a hub, up to the requested number.
///
/// Source: `[doc]` the REST page "Devices - Get Devices": `top` is at most 1,000. `[guess]`: the default is also
/// 1,000.
pub(super) fn list(cloud: &Cloud, hub: &str, query: Option<&str>) -> Result<ApiResponse, Problem> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    let top = pairs.find(|(name, _)| name.eq_ignore_ascii_case("top")).map(|(_, it)| it.parse::<usize>());
    let top = match top {
        None => LIST_MAX,
        Some(Ok(top @ 1..=LIST_MAX)) => top,
        Some(_) => return Err(Problem::invalid("top must be 1 to 1000.")),
    };
    cloud.store.read(|state| {
        let devices = state.hub(hub).into_iter().flat_map(|it| it.devices.keys()).filter(|it| !it.contains('/'));
        let shown: Result<Vec<_>, _> = devices.take(top).map(|it| identity::device(state, hub, it)).collect();
        Ok(ApiResponse::json(&ordered(cloud, shown?)))
    })
}

/// Lists the modules of a device.
pub(super) fn modules(cloud: &Cloud, hub: &str, device_id: &str) -> Result<ApiResponse, Problem> {
    cloud.store.read(|state| {
        find(state, hub, device_id)?;
        let modules = state.hub(hub).map_or_else(Vec::new, |it| it.modules(device_id));
        let shown: Result<Vec<_>, _> = modules.iter().map(|it| identity::module(state, hub, it)).collect();
        Ok(ApiResponse::json(&ordered(cloud, shown?)))
    })
}

/// Shuffles a list if the options of the emulator request this.
fn ordered<T>(cloud: &Cloud, mut list: Vec<T>) -> Vec<T> {
    if let Some(mut order) = cloud.choices.next_order() {
        order.shuffle(&mut list);
    }
    list
}

/// One device or module.
pub(super) fn get(cloud: &Cloud, hub: &str, client_id: &str) -> Result<ApiResponse, Problem> {
    cloud.store.read(|state| show(state, hub, client_id))
}

/// Source: `[seen]` recordings of azure-sdk-for-net: a response about a device has a header `ETag`. A response about
/// a module does not have this header.
fn show(state: &State, hub: &str, client_id: &str) -> Result<ApiResponse, Problem> {
    let etag = &find(state, hub, client_id)?.etag;
    Ok(if client_id.contains('/') {
        ApiResponse::json(&identity::module(state, hub, client_id)?)
    } else {
        ApiResponse::json(&identity::device(state, hub, client_id)?).etag(etag)
    })
}

/// Creates the identity if the request has no `If-Match`. Otherwise, updates the identity.
///
/// Source: `[doc]` the REST pages "Devices - Create Or Update Identity" and "Modules - …". `[guess]`: the update of a
/// missing identity gets 404.
pub(super) fn put(
    cloud: &Cloud,
    hub: &str,
    client_id: &str,
    if_match: &IfMatch,
    body: &[u8],
) -> Result<ApiResponse, Problem> {
    let requested = if client_id.contains('/') { of_module(client_id, body)? } else { of_device(client_id, body)? };
    let now = cloud.clock.now();
    let (created, done) = cloud.store.change(|state| {
        let created = apply(state, hub, client_id, requested, Mode::of(if_match), if_match, now)?;
        Ok::<_, Problem>((created, show(state, hub, client_id)?))
    })?;
    if !created {
        // Write an event for an update. For a new identity, the store has already written an event.
        let note = Note::new(EventKind::DeviceUpdated, EventSource::HubService).hub(hub).id(client_id);
        cloud.journal.note(note);
    }
    Ok(done)
}

/// Deletes a device with its modules, or a module.
///
/// Source: `[doc]` the REST pages "Devices - Delete Identity" and "Modules - …": the request requires If-Match. For
/// 412: `[seen]` by mwalser/terraform-provider-iothub, CONCEPT.md.
pub(super) fn delete(cloud: &Cloud, hub: &str, client_id: &str, if_match: &IfMatch) -> Result<ApiResponse, Problem> {
    if *if_match == IfMatch::Absent {
        return Err(Problem::new(
            Code::PreconditionFailed,
            "Etag missing: a DELETE requires If-Match with the etag or *.",
        ));
    }
    cloud.store.change(|state| remove(state, hub, client_id, if_match))?;
    Ok(ApiResponse::nothing())
}

pub(super) fn remove(state: &mut State, hub: &str, client_id: &str, if_match: &IfMatch) -> Result<(), Problem> {
    check_etag(if_match, &find(state, hub, client_id)?.etag)?;
    if client_id.contains('/') {
        state.live.close(&Key::hub(hub, client_id), EndReason::NotAllowed);
        state.hub_mut(hub).and_then(|it| it.remove(client_id));
    } else {
        state.remove_device(hub, client_id);
    }
    Ok(())
}

/// Says whether a request creates an identity, updates it, or may do either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Create,
    Update,
    CreateOrUpdate,
}

impl Mode {
    fn of(if_match: &IfMatch) -> Self {
        if *if_match == IfMatch::Absent { Self::Create } else { Self::Update }
    }
}

/// Creates or updates an identity; returns whether it was created.
///
/// Source: `[seen]` by mwalser/terraform-provider-iothub, CONCEPT.md, for modules with `$`.
pub(super) fn apply(
    state: &mut State,
    hub: &str,
    client_id: &str,
    mut requested: IdentityRequest,
    mode: Mode,
    if_match: &IfMatch,
    now: SystemTime,
) -> Result<bool, Problem> {
    if client_id.split_once('/').is_some_and(|(_, module)| module.starts_with('$')) {
        return Err(Problem::invalid(
            "A module id must not begin with $: the hub creates such modules for edge devices.",
        ));
    }
    let created = match (find(state, hub, client_id), mode) {
        (Ok(_), Mode::Create) => return Err(exists(client_id)),
        (Ok(before), _) => {
            check_etag(if_match, &before.etag)?;
            false
        }
        (Err(problem), Mode::Update) => return Err(problem),
        // A module requires its device.
        (Err(problem), _) if client_id.contains('/') && problem.code == Code::DeviceNotFound.number() => {
            return Err(problem);
        }
        (Err(_), _) => true,
    };
    let authentication = requested.take_authentication()?;
    let modules = client_id.split_once('/').map(|(device_id, _)| device_id);
    let modules = modules.and_then(|it| Some(state.hub(hub)?.modules(it).len())).unwrap_or_default();
    if created && modules >= MODULES_MAX {
        return Err(Problem::new(
            Code::TooManyModulesOnDevice,
            format!("A device may have at most {MODULES_MAX} modules."),
        ));
    }
    let devices = &mut state.hub_mut(hub).ok_or_else(|| Problem::missing(client_id))?.devices;
    if created {
        devices.insert(client_id.to_owned(), Device::new(authentication.clone(), now));
    }
    let device = devices.get_mut(client_id).ok_or_else(|| Problem::missing(client_id))?;
    device.authentication = authentication;
    if !created {
        device.etag = wire_id::next_identity_etag(&device.etag);
    }
    device.managed_by = requested.managed_by;
    let enabled = requested.enabled.unwrap_or(device.enabled);
    if device.enabled != enabled {
        (device.enabled, device.status_updated) = (enabled, timestamp(now));
    }
    device.status_reason = requested.status_reason;
    if !enabled {
        state.close_device(hub, client_id);
    }
    Ok(created)
}

fn of_device(device_id: &str, body: &[u8]) -> Result<IdentityRequest, Problem> {
    let device: model::Device = read(body, b'{')?;
    if device.device_id != device_id {
        return Err(Problem::invalid("The deviceId in the body differs from the one in the path."));
    }
    check_id(device_id)?;
    identity::no_edge(device.capabilities, device.device_scope.as_deref(), device.parent_scopes.as_deref())?;
    Ok(IdentityRequest {
        authentication: identity::authentication(device.authentication)?,
        enabled: identity::status(device.status, device.status_reason.as_deref())?,
        status_reason: device.status_reason,
        managed_by: None,
    })
}

fn of_module(client_id: &str, body: &[u8]) -> Result<IdentityRequest, Problem> {
    let module: model::Module = read(body, b'{')?;
    if client_id != format!("{}/{}", module.device_id, module.module_id) {
        return Err(Problem::invalid("The deviceId or moduleId in the body differs from the one in the path."));
    }
    check_id(client_id)?;
    let authentication = identity::authentication(module.authentication)?;
    Ok(IdentityRequest { authentication, managed_by: module.managed_by, ..IdentityRequest::default() })
}
