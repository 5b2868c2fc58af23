//! Whether a CONNECT to a hub is accepted.

use hubward_proto::hub::{HubIdentity, HubUsername, Message, TelemetryTopic};
use hubward_sas::{SasToken, UnixSeconds};

use crate::mqtt::codec::{Connect, Will};
use crate::store::State;

/// A device that may connect.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) identity: HubIdentity,
    /// The hub's name in lower case.
    pub(crate) hub: String,
    /// When its token expires, without the grace.
    pub(crate) expiry: UnixSeconds,
    /// What its will says, as telemetry, and the will's QoS.
    pub(crate) will: Option<(Message, u8)>,
}

/// Checks a CONNECT. The reason of a refusal is for the log; the client hears CONNACK 5.
///
/// Source: `[sdk]` Azure/iotedge, MqttUsernameParser.cs and DeviceScopeTokenAuthenticator.cs; `[doc]`
/// iot/iot-mqtt-connect-to-iot-hub.md. Refused because not emulated: modules, tokens of a policy.
pub(crate) fn check(state: &State, connect: &Connect, now: UnixSeconds) -> Result<Login, &'static str> {
    let username = connect.username.as_deref().ok_or("no user name")?;
    let username = HubUsername::parse(username).map_err(|_| "the user name cannot be read")?;
    let identity = username.identity;
    if username.api_version.is_none() {
        tracing::warn!(device = %identity, "the user name has no api-version; Edge Hub would refuse it");
    }
    if identity.module.is_some() {
        return Err("modules are not emulated");
    }
    if connect.client_id != identity.client_id() {
        return Err("the client id is not the device id of the user name");
    }
    let host = identity.host.as_str();
    state.hub(host).ok_or("no hub of this name")?;
    let password = connect.password.as_deref().ok_or("no SAS token")?;
    let password = std::str::from_utf8(password).map_err(|_| "the SAS token cannot be read")?;
    let token = SasToken::parse(password).map_err(|_| "the SAS token cannot be read")?;
    if token.policy().is_some() {
        return Err("the token is one of a policy, which are not emulated");
    }
    if !token.is_for(&identity.sas_resource()) {
        return Err("the token is for another resource");
    }
    if token.is_expired(now) {
        return Err("the token has expired");
    }
    let device = state.device(host, identity.device.as_str()).ok_or("no device of this id")?;
    if !device.keys.signed(&token) {
        return Err("bad signature");
    }
    if !device.enabled {
        return Err("the device is disabled");
    }
    let will = connect.will.as_ref().map(|it| will(&identity, it)).transpose()?;
    Ok(Login { hub: host.to_ascii_lowercase(), identity, expiry: token.expiry(), will })
}

/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Sending device-to-cloud messages" (will). That
/// any other will is refused is a `[guess]`.
fn will(identity: &HubIdentity, will: &Will) -> Result<(Message, u8), &'static str> {
    if will.qos > 1 {
        return Err("the will has a quality of service above 1");
    }
    let topic = TelemetryTopic::parse(identity, &will.topic).map_err(|_| "the will is not telemetry of this device")?;
    let mut message = Message::from_wire(will.body.clone(), &topic.bag);
    message.check().map_err(|_| "the will is larger than a message may be")?;
    if will.retain {
        message = message.property(RETAIN, "true");
    }
    Ok((message.property("iothub-MessageType", "Will"), will.qos))
}

/// The application property that stands for the RETAIN flag.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md.
pub(crate) const RETAIN: &str = "mqtt-retain";

#[cfg(test)]
mod tests;
