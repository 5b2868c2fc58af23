//! Converts identities to the models of the service API and back, and checks the values in requests.

use hubward_proto::service::{
    self as model, Authentication, AuthenticationType, Capabilities, SymmetricKeys, X509Thumbprint,
};
use hubward_proto::{DeviceId, ModuleId, ProtoError};
use hubward_sas::SharedKey;

use super::problem::Problem;
use crate::services::hub::Code;
use crate::state::model::{Device, DeviceAuthentication, Key, KeyPair, State, Thumbprints};

/// Source: `[doc]` iot-hub/iot-hub-devguide-identity-registry.md, `statusReason`.
const REASON_MAX: usize = 128;

/// The values of an identity in a request. `None` means that the request does not contain the value.
#[derive(Debug, Default)]
pub(super) struct IdentityRequest {
    pub(super) authentication: Option<DeviceAuthentication>,
    pub(super) enabled: Option<bool>,
    pub(super) status_reason: Option<String>,
    pub(super) managed_by: Option<String>,
}

impl IdentityRequest {
    /// Returns the authentication of the request. If the request has neither keys nor thumbprints, generates random
    /// keys, even if the identity had keys.
    ///
    /// Source: `[seen]` by mwalser/terraform-provider-iothub, CONCEPT.md: a PUT replaces the whole identity.
    pub(super) fn take_authentication(&mut self) -> Result<DeviceAuthentication, Problem> {
        let make = || KeyPair::generate().map(DeviceAuthentication::Sas);
        let authentication = self.authentication.take().map_or_else(make, Ok);
        authentication.map_err(|_| Problem::generic(500, "The system provides no randomness to generate keys."))
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

/// The authentication in a request. Returns `None` if the request leaves the keys to the hub.
///
/// Source: `[sdk]` azure-iot-hub (Python), `AuthenticationMechanism`. `[seen]` by mwalser/terraform-provider-iothub,
/// CONCEPT.md: a request with only one key is refused. `[guess]`: a request with both thumbprints and keys is refused,
/// and so is one with thumbprints for the type `certificateAuthority`.
///
/// Our choice: a known type that the emulator does not support gets 501.
pub(super) fn authentication(given: Option<Authentication>) -> Result<Option<DeviceAuthentication>, Problem> {
    let Some(Authentication { kind, symmetric_key, x509_thumbprint, .. }) = given else { return Ok(None) };
    let keys = symmetric_key.unwrap_or_default();
    let has_keys = !keys.primary_key.trim().is_empty() || !keys.secondary_key.trim().is_empty();
    let thumbprint = x509_thumbprint.unwrap_or_default();
    let thumbprints = [&thumbprint.primary_thumbprint, &thumbprint.secondary_thumbprint];
    let has_thumbprints = thumbprints.into_iter().flatten().any(|it| !it.is_empty());
    match kind {
        None | Some(AuthenticationType::Sas) if has_thumbprints => {
            Err(Problem::invalid("An identity of type sas must not have thumbprints."))
        }
        None | Some(AuthenticationType::Sas) => Ok(read_keys(keys)?.map(DeviceAuthentication::Sas)),
        Some(AuthenticationType::SelfSigned | AuthenticationType::CertificateAuthority) if has_keys => {
            Err(Problem::invalid("Only an identity of type sas has symmetric keys."))
        }
        Some(AuthenticationType::SelfSigned) => match Thumbprints::new(thumbprint) {
            Ok(thumbprints) => Ok(Some(DeviceAuthentication::SelfSigned(thumbprints))),
            Err(problem) => Err(Problem::invalid(format!("The authentication is not valid: {problem}."))),
        },
        Some(AuthenticationType::CertificateAuthority) if has_thumbprints => {
            Err(Problem::invalid("Only an identity of type selfSigned has thumbprints."))
        }
        Some(AuthenticationType::CertificateAuthority) => Ok(Some(DeviceAuthentication::CertificateAuthority)),
        Some(AuthenticationType::Unknown(word)) => {
            Err(Problem::invalid(format!("Unknown authentication type `{word}`.")))
        }
        Some(other) => Err(Problem::not_emulated(&format!("the authentication type `{other}`"))),
    }
}

/// Reads both keys. Returns `None` if both texts are empty.
fn read_keys(keys: SymmetricKeys) -> Result<Option<KeyPair>, Problem> {
    let SymmetricKeys { primary_key, secondary_key } = keys;
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
    shown.authentication = Some(shown_authentication(&device.authentication));
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
    shown.authentication = Some(shown_authentication(&module.authentication));
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

/// Source: `[doc]` azure-rest-api-specs, iothub service models, `AuthenticationMechanism`: the service returns all
/// members, whatever the type is.
fn shown_authentication(authentication: &DeviceAuthentication) -> Authentication {
    let text = |key: &SharedKey| key.expose_base64().to_string();
    let keys = authentication.keys().map_or_else(SymmetricKeys::default, |keys| SymmetricKeys {
        primary_key: text(&keys.primary),
        secondary_key: text(&keys.secondary),
    });
    let mut shown = match authentication {
        DeviceAuthentication::Sas(_) => Authentication::sas(None),
        DeviceAuthentication::SelfSigned(_) => Authentication::self_signed(X509Thumbprint::default()),
        DeviceAuthentication::CertificateAuthority => Authentication::certificate_authority(),
    };
    shown.symmetric_key = Some(keys);
    shown.x509_thumbprint = Some(authentication.thumbprints());
    shown
}

/// The error for an identity that exists already.
pub(super) fn exists(client_id: &str) -> Problem {
    let code = if client_id.contains('/') { Code::ModuleAlreadyExistsOnDevice } else { Code::DeviceAlreadyExists };
    Problem::new(code, client_id.replace('/', "/modules/"))
}
