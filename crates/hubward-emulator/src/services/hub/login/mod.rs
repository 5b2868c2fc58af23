//! The login of a device or module at a hub.

mod certificate;

use std::sync::Arc;

use hubward_proto::hub::{API_VERSION_WITH_CERTIFICATES, HubIdentity};
use hubward_sas::{SasToken, UnixSeconds};

use crate::services::issuer::CredentialAuthority;
use crate::services::presented::PresentedChain;
use crate::state::model::{Policy, Right, State, hub_policy};
use crate::state::telemetry::Origin;

/// The login request of a device or module.
#[derive(Debug)]
pub(crate) struct LoginRequest<'a> {
    pub(crate) identity: HubIdentity,
    /// The `api-version` of the request, if it names one.
    pub(crate) api_version: Option<String>,
    pub(crate) model_id: Option<String>,
    /// The SAS token, if there is one.
    pub(crate) token: Option<&'a [u8]>,
    /// The certificates that the client presented in the TLS handshake. If there is also a token, the token counts.
    pub(crate) certificates: Option<&'a PresentedChain>,
}

/// A device or module that may connect.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) identity: HubIdentity,
    /// The hub's name in lower case.
    pub(crate) hub: String,
    /// Whether the user name contains an `api-version`. Without an `api-version`, a client can neither change its
    /// reported properties nor get method calls and changes of desired properties.
    pub(crate) has_version: bool,
    /// Whether the `api-version` includes certificate requests. Otherwise, the topics for them do not exist.
    pub(crate) has_certificate_requests: bool,
    /// When the token expires, without the grace period. `None` for a device with a certificate: a certificate that
    /// expires does not end the connection (`[guess]`).
    pub(crate) expiry: Option<UnixSeconds>,
    /// The sender properties that the hub adds to each message.
    pub(crate) origin: Arc<Origin>,
}

/// Checks a login. The error is the reason for the log. The client does not get the reason.
///
/// Source: `[sdk]` Azure/iotedge, MqttUsernameParser.cs and DeviceScopeTokenAuthenticator.cs; `[doc]`
/// iot/iot-mqtt-connect-to-iot-hub.md. For CONNACK 5: `[seen]` Azure/azure-iot-sdks, issue 985,
/// Azure/azure-iot-sdk-c, issue 373, and MicrosoftDocs/azure-docs, issue 38897.
///
/// `[guess]`: the token of a module must be signed with the key of the module. The key of the device is not accepted.
/// If a device sends a token and presents a certificate, the token decides. A token of a policy connects devices with
/// certificates too. Every `api-version` from [`API_VERSION_WITH_CERTIFICATES`] on includes certificate requests.
pub(crate) fn check(
    state: &State,
    authority: &CredentialAuthority,
    request: &LoginRequest<'_>,
    now: UnixSeconds,
) -> Result<Login, &'static str> {
    let LoginRequest { identity, api_version, model_id, token, certificates } = request;
    let client_id = identity.client_id();
    let host = identity.host.as_str();
    let hub = state.hub(host).ok_or("no hub of this name")?;
    let token = match (token, certificates) {
        (Some(token), _) => Some(read_token(token, identity, now)?),
        (None, Some(_)) => None,
        (None, None) => return Err("neither a SAS token nor a client certificate"),
    };
    let device = hub.devices.get(identity.device.as_str()).ok_or("no device of this id")?;
    let caller = hub.devices.get(&client_id).ok_or("the device has no module of this id")?;
    let policy = token.as_ref().and_then(SasToken::policy);
    match (&token, policy, certificates) {
        (Some(token), Some(policy), _) => by_policy_key(state, host, policy, token)?,
        (Some(token), None, _) => {
            let keys = caller.authentication.keys();
            let keys = keys.ok_or("the identity has a certificate: a SAS token of the device is not valid")?;
            if !keys.signed(token) {
                return Err("bad signature");
            }
        }
        (None, _, Some(chain)) => certificate::check(state, authority, &client_id, caller, chain, now)?,
        (None, _, None) => return Err("neither a SAS token nor a client certificate"),
    }
    if !device.enabled {
        return Err("the device is disabled");
    }
    let scope = match (policy, &identity.module) {
        (Some(_), _) => "hub",
        (None, Some(_)) => "module",
        (None, None) => "device",
    };
    let origin = Arc::new(Origin {
        device_id: identity.device.to_string(),
        module_id: identity.module.as_ref().map(ToString::to_string),
        generation_id: caller.generation_id.clone(),
        scope,
        has_certificate: token.is_none(),
        model_id: model_id.clone(),
    });
    Ok(Login {
        hub: host.to_ascii_lowercase(),
        identity: identity.clone(),
        has_version: api_version.is_some(),
        has_certificate_requests: api_version.as_deref().is_some_and(|it| it >= API_VERSION_WITH_CERTIFICATES),
        expiry: token.map(|it| it.expiry()),
        origin,
    })
}

/// Parses a token. Checks its resource and expiry time, but not its signature.
fn read_token(token: &[u8], identity: &HubIdentity, now: UnixSeconds) -> Result<SasToken, &'static str> {
    let token = std::str::from_utf8(token).map_err(|_| "the SAS token cannot be read")?;
    let token = SasToken::parse(token).map_err(|_| "the SAS token cannot be read")?;
    let resource = identity.sas_resource();
    let fits = if token.policy().is_some() { token.covers(&resource) } else { token.is_for(&resource) };
    if !fits && !is_by_tool(&token, &resource) {
        return Err("the token is for another resource");
    }
    if token.is_expired(now) {
        return Err("the token has expired");
    }
    Ok(token)
}

/// Returns whether the token has the form that an old tool creates: the resource of the token is `resource`, followed
/// by an API version as the last segment.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md shows such a token as a password.
fn is_by_tool(token: &SasToken, resource: &str) -> bool {
    let granted = token.resource();
    granted.rsplit_once('/').is_some_and(|(head, last)| {
        let version = last.strip_prefix("api-version=").unwrap_or_default();
        let is_version = version.len() >= 10 && version.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        is_version && head.eq_ignore_ascii_case(resource)
    })
}

/// Checks a token that names a policy. The policy must allow devices to connect, and the signature must be valid.
///
/// Source: `[doc]` iot-hub/authenticate-authorize-sas.md, the policies of a new hub.
fn by_policy_key(state: &State, host: &str, policy: &str, token: &SasToken) -> Result<(), &'static str> {
    let Some(policy) = Policy::named(policy).filter(|it| it.gives(Right::DeviceConnect)) else {
        return Err("the token's policy does not exist or may not connect devices");
    };
    let keys = state.policies.get(&hub_policy(host, policy));
    if keys.is_some_and(|it| it.signed(token)) { Ok(()) } else { Err("bad signature") }
}
