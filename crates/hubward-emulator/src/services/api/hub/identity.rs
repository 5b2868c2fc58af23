//! Converts identities to the models of the service API and back, and checks the values in requests.

use hubward_proto::service::{
    self as model, Authentication, AuthenticationType, Capabilities, SymmetricKeys, X509Thumbprint,
};
use hubward_proto::{DeviceId, ModuleId, ProtoError};
use hubward_sas::SharedKey;

use super::problem::Problem;
use crate::services::hub::Code;
use crate::state::model::{Device, Key, KeyPair, State};

/// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, `statusReason`.
const REASON_MAX: usize = 128;

/// The values of an identity in a request. `None` means that the request does not contain the value.
#[derive(Debug, Default)]
pub(super) struct IdentityRequest {
    pub(super) keys: Option<KeyPair>,
    pub(super) enabled: Option<bool>,
    pub(super) status_reason: Option<String>,
    pub(super) managed_by: Option<String>,
}

impl IdentityRequest {
    /// Returns the keys of the request. If the request has no keys, generates random keys, even if the identity had
    /// keys.
    ///
    /// Source: `[seen]` by mwalser/terraform-provider-iothub, CONCEPT.md: a PUT replaces the whole identity.
    pub(super) fn take_keys(&mut self) -> Result<KeyPair, Problem> {
        let keys = self.keys.take().map_or_else(KeyPair::generate, Ok);
        keys.map_err(|_| Problem::generic(500, "The system provides no randomness to generate keys."))
    }
}

/// Checks an id as the service does.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, "Device identity properties".
pub(super) fn check_id(client_id: &str) -> Result<(), Problem> {
    let checked = match client_id.split_once('/') {
        None => DeviceId::new(client_id).map(drop),
        Some((device, module)) => DeviceId::new(device).and_then(|_| ModuleId::new(module).map(drop)),
    };
    checked.map_err(|problem| Problem::invalid(problem.to_string()))
}

/// Returns the client id for the ids in a body: `{device}` or `{device}/{module}`. An empty module id counts as
/// absent.
pub(super) fn client_id(device_id: &str, module_id: Option<&str>) -> Result<String, Problem> {
    let wrong = |problem: ProtoError| Problem::invalid(problem.to_string());
    DeviceId::new(device_id).map_err(wrong)?;
    let Some(module_id) = module_id.filter(|it| !it.is_empty()) else { return Ok(device_id.to_owned()) };
    ModuleId::new(module_id).map_err(wrong)?;
    Ok(format!("{device_id}/{module_id}"))
}

/// The keys in the authentication part of a request.
///
/// Source: `[sdk]` azure-iot-hub (Python), `AuthenticationMechanism`. `[seen]` by mwalser/terraform-provider-iothub,
/// CONCEPT.md: a request with only one key is refused. `[guess]`: a request with both thumbprints and keys is refused.
///
/// Our choice: a known type that the emulator does not support gets 501.
pub(super) fn keys(authentication: Option<Authentication>) -> Result<Option<KeyPair>, Problem> {
    let Some(Authentication { kind, symmetric_key, x509_thumbprint, .. }) = authentication else { return Ok(None) };
    match kind {
        None | Some(AuthenticationType::Sas) => {}
        Some(AuthenticationType::Unknown(word)) => {
            return Err(Problem::invalid(format!("Unknown authentication type `{word}`.")));
        }
        Some(other) => return Err(Problem::not_emulated(&format!("the authentication type `{other}`"))),
    }
    let X509Thumbprint { primary_thumbprint, secondary_thumbprint } = x509_thumbprint.unwrap_or_default();
    if [primary_thumbprint, secondary_thumbprint].iter().flatten().any(|it| !it.is_empty()) {
        return Err(Problem::invalid("An identity of type sas must not have thumbprints."));
    }
    let SymmetricKeys { primary_key, secondary_key } = symmetric_key.unwrap_or_default();
    let read = |name: &str, text: &str| match text.trim() {
        "" => Ok(None),
        text => match SharedKey::from_base64(text) {
            Ok(key) => Ok(Some(key)),
            Err(problem) => Err(Problem::invalid(format!("The {name} cannot be used: {problem}."))),
        },
    };
    match (read("primaryKey", &primary_key)?, read("secondaryKey", &secondary_key)?) {
        (Some(primary), Some(secondary)) => Ok(Some(KeyPair { primary, secondary })),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(Problem::invalid("Either no keys or both keys can be set.")),
    }
}

/// The status in a request.
pub(super) fn status(status: Option<model::DeviceStatus>, reason: Option<&str>) -> Result<Option<bool>, Problem> {
    if reason.is_some_and(|it| it.chars().count() > REASON_MAX) {
        return Err(Problem::invalid("A statusReason may have at most 128 characters."));
    }
    match status {
        None => Ok(None),
        Some(model::DeviceStatus::Enabled) => Ok(Some(true)),
        Some(model::DeviceStatus::Disabled) => Ok(Some(false)),
        Some(unknown) => Err(Problem::invalid(format!("Unknown status `{unknown}`."))),
    }
}

/// Refuses edge devices and their children, which are not emulated.
pub(super) fn no_edge(
    capabilities: Option<Capabilities>,
    scope: Option<&str>,
    parents: Option<&[String]>,
) -> Result<(), Problem> {
    if capabilities.is_some_and(|it| it.iot_edge) {
        return Err(Problem::not_emulated("edge devices (capabilities.iotEdge)"));
    }
    if scope.is_some_and(|it| !it.is_empty()) || parents.is_some_and(|it| !it.is_empty()) {
        return Err(Problem::not_emulated("children of edge devices (deviceScope, parentScopes)"));
    }
    Ok(())
}

/// A device with its keys, as the registry returns it.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `Device`. The service also returns the keys to a
/// caller with the right `RegistryRead`.
pub(super) fn device(state: &State, hub: &str, device_id: &str) -> Result<model::Device, Problem> {
    let device = find(state, hub, device_id)?;
    let mut shown = model::Device::new(device_id);
    shown.generation_id = Some(device.generation_id.clone());
    shown.etag = Some(device.etag.clone());
    shown.connection_state = Some(connection_state(state, hub, device_id));
    shown.status = Some(if device.enabled { model::DeviceStatus::Enabled } else { model::DeviceStatus::Disabled });
    shown.status_reason.clone_from(&device.status_reason);
    shown.connection_state_updated_time = Some(device.connection_updated.clone());
    shown.status_updated_time = Some(device.status_updated.clone());
    shown.last_activity_time = Some(state.activity(hub, device_id, device));
    shown.cloud_to_device_message_count = Some(device.queue.len() as u64);
    shown.authentication = Some(authentication(&device.keys));
    shown.capabilities = Some(Capabilities::default());
    Ok(shown)
}

/// A module with its keys, as the registry returns it.
///
/// Source: `[doc]` azure-rest-api-specs, iothub service models, `Module`.
pub(super) fn module(state: &State, hub: &str, client_id: &str) -> Result<model::Module, Problem> {
    let module = find(state, hub, client_id)?;
    let (device_id, module_id) = client_id.split_once('/').ok_or_else(|| Problem::missing(client_id))?;
    let mut shown = model::Module::new(device_id, module_id);
    shown.managed_by.clone_from(&module.managed_by);
    shown.generation_id = Some(module.generation_id.clone());
    shown.etag = Some(module.etag.clone());
    shown.connection_state = Some(connection_state(state, hub, client_id));
    shown.connection_state_updated_time = Some(module.connection_updated.clone());
    shown.last_activity_time = Some(state.activity(hub, client_id, module));
    shown.cloud_to_device_message_count = Some(module.queue.len() as u64);
    shown.authentication = Some(authentication(&module.keys));
    Ok(shown)
}

/// Returns the identity, or an error if the device or module does not exist.
pub(super) fn find<'a>(state: &'a State, hub: &str, client_id: &str) -> Result<&'a Device, Problem> {
    if let Some((device_id, _)) = client_id.split_once('/') {
        state.device(hub, device_id).ok_or_else(|| Problem::missing(device_id))?;
    }
    state.device(hub, client_id).ok_or_else(|| Problem::missing(client_id))
}

fn connection_state(state: &State, hub: &str, client_id: &str) -> model::ConnectionState {
    let live = state.live.is_live(&Key::hub(hub, client_id));
    if live { model::ConnectionState::Connected } else { model::ConnectionState::Disconnected }
}

fn authentication(keys: &KeyPair) -> Authentication {
    let text = |key: &SharedKey| key.expose_base64().to_string();
    let keys = SymmetricKeys { primary_key: text(&keys.primary), secondary_key: text(&keys.secondary) };
    let mut shown = Authentication::sas(Some(keys));
    shown.x509_thumbprint = Some(X509Thumbprint::default());
    shown
}

/// The error for an identity that exists already.
pub(super) fn exists(client_id: &str) -> Problem {
    let code = if client_id.contains('/') { Code::ModuleAlreadyExistsOnDevice } else { Code::DeviceAlreadyExists };
    Problem::new(code, client_id.replace('/', "/modules/"))
}
