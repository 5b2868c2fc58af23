//! Translates a CONNECT into a login at a hub.

use bytes::Bytes;
use hubward_proto::hub::{HubIdentity, HubUsername, Message, TelemetryTopic};
use hubward_sas::UnixSeconds;

use crate::doors::mqtt::codec::{Connect, Will};
use crate::services::hub::{Login, LoginRequest, check_login};
use crate::services::issuer::CredentialAuthority;
use crate::services::presented::PresentedChain;
use crate::state::model::State;

/// The application property that represents the RETAIN flag.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; `[seen]` arendst/Tasmota, issue 11771.
pub(super) const RETAIN: &str = "mqtt-retain";

/// A CONNECT that the hub accepts.
pub(super) struct Checked<'a> {
    pub(super) request: LoginRequest<'a>,
    pub(super) login: Login,
    /// The will as telemetry, and its QoS.
    pub(super) will: Option<(Message, u8)>,
}

/// Checks a CONNECT. If the hub refuses the CONNECT, returns the reason as an error. The client gets only CONNACK 5:
/// the reason is for the log.
pub(super) fn check<'a>(
    state: &State,
    authority: &CredentialAuthority,
    connect: &'a Connect,
    certificates: Option<&'a PresentedChain>,
    now: UnixSeconds,
) -> Result<Checked<'a>, &'static str> {
    let request = LoginRequest { certificates, ..request(connect)? };
    let login = check_login(state, authority, &request, now)?;
    let will = connect.will.as_ref().map(|it| will(&login.identity, it)).transpose()?;
    Ok(Checked { request, login, will })
}

/// The login request of a CONNECT.
///
/// Source: `[sdk]` Azure/iotedge, MqttUsernameParser.cs.
fn request(connect: &Connect) -> Result<LoginRequest<'_>, &'static str> {
    let username = connect.username.as_deref().ok_or("no user name")?;
    let username = HubUsername::parse(username).map_err(|_| "the user name cannot be read")?;
    if connect.client_id != username.identity.client_id() {
        return Err("the client id is not that of the user name");
    }
    Ok(LoginRequest {
        api_version: username.api_version,
        identity: username.identity,
        model_id: username.model_id,
        token: connect.password.as_deref(),
        certificates: None,
    })
}

/// Checks the will of a CONNECT. Returns the will as a telemetry message, and its QoS.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Sending device-to-cloud messages" (will). That the hub refuses
/// any other will is a `[guess]`.
fn will(identity: &HubIdentity, will: &Will) -> Result<(Message, u8), &'static str> {
    if will.qos > 1 {
        return Err("the will has a quality of service above 1");
    }
    let topic = TelemetryTopic::parse(identity, &will.topic).map_err(|_| "the will is not telemetry of this device")?;
    let mut message = Message::from_wire(Bytes::copy_from_slice(&will.body), &topic.bag);
    message.check().map_err(|_| "the will is larger than a message may be")?;
    if will.retain {
        message = message.property(RETAIN, "true");
    }
    Ok((message.property("iothub-MessageType", "Will"), will.qos))
}

#[cfg(test)]
mod tests;
