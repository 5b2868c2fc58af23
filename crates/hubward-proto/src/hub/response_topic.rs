//! The MQTT topics to which a hub publishes twin responses, changes of desired properties, and direct method calls.

use crate::ProtoError;
use crate::percent::{decode, encode};

const TWIN_RESPONSE: &str = "$iothub/twin/res/";
const TWIN_DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";
const METHOD_REQUEST: &str = "$iothub/methods/POST/";

/// The topic of a twin response:
/// `$iothub/twin/res/{status}/?$rid={id}[&$version={version}]`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinResponseTopic {
    /// 200 with a twin; 204 after a change of reported properties; another HTTP status for a refusal.
    pub status: u16,
    /// The id that the client chose in the request.
    pub request_id: String,
    /// The new version of the reported properties, which hubs send with status 204. `None` if the topic contains no
    /// valid version.
    pub version: Option<u64>,
}

impl TwinResponseTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { status, request_id, version } = self;
        match version {
            None => format!("{TWIN_RESPONSE}{status}/?$rid={request_id}"),
            Some(version) => format!("{TWIN_RESPONSE}{status}/?$rid={request_id}&$version={version}"),
        }
    }

    /// Parses the topic of a publish by a hub. Ignores unknown parameters. Ignores a version that is not a number,
    /// because the response is useful without a version.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form, if the status is missing or not a number, or if the
    /// request id is missing.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let wrong = || ProtoError::topic(topic, "expected $iothub/twin/res/{status}/?$rid={id}");
        let (status, rest) = topic.strip_prefix(TWIN_RESPONSE).and_then(|it| it.split_once('/')).ok_or_else(wrong)?;
        let status = status.parse().map_err(|_| wrong())?;
        let request_id = parameter(rest, "$rid").filter(|it| !it.is_empty()).ok_or_else(wrong)?.to_owned();
        let version = parameter(rest, "$version").and_then(|it| it.parse().ok());
        Ok(Self { status, request_id, version })
    }
}

/// The topic of a change of desired properties:
/// `$iothub/twin/PATCH/properties/desired/?$version={version}`.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DesiredTopic {
    /// The version after the change. The body contains the same version.
    pub version: Option<u64>,
}

impl DesiredTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(self) -> String {
        match self.version {
            None => TWIN_DESIRED.to_owned(),
            Some(version) => format!("{TWIN_DESIRED}?$version={version}"),
        }
    }

    /// Parses the topic of a publish by a hub. Ignores a version that is not a number.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` is another topic.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let rest = topic.strip_prefix(TWIN_DESIRED);
        let rest = rest.filter(|it| it.is_empty() || it.starts_with('?'));
        let rest = rest.ok_or_else(|| ProtoError::topic(topic, "expected $iothub/twin/PATCH/properties/desired/"))?;
        Ok(Self { version: parameter(rest, "$version").and_then(|it| it.parse().ok()) })
    }
}

/// The topic of a direct method call: `$iothub/methods/POST/{name}/?$rid={id}`. The name is percent-encoded
/// where necessary.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md; vectors `hub-subscriptions-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRequestTopic {
    /// The method's name, decoded.
    pub name: String,
    /// The id that the hub chose. The response must repeat it unchanged.
    pub request_id: String,
}

impl MethodRequestTopic {
    /// Encodes the topic.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{METHOD_REQUEST}{}/?$rid={}", encode(&self.name), self.request_id)
    }

    /// Parses the topic of a publish by a hub. The request id is all the text after `$rid=` up to the next
    /// parameter.
    ///
    /// # Errors
    /// [`ProtoError::Topic`] if `topic` does not have this form, or if the name or the request id is missing.
    pub fn parse(topic: &str) -> Result<Self, ProtoError> {
        let wrong = || ProtoError::topic(topic, "expected $iothub/methods/POST/{name}/?$rid={id}");
        let (name, rest) = topic.strip_prefix(METHOD_REQUEST).and_then(|it| it.split_once('/')).ok_or_else(wrong)?;
        let name = decode(name).filter(|it| !it.is_empty()).ok_or_else(wrong)?;
        let request_id = parameter(rest, "$rid").filter(|it| !it.is_empty()).ok_or_else(wrong)?.to_owned();
        Ok(Self { name, request_id })
    }

    /// Returns the request id in the topic of a method call, even if the name of the method is not valid. A client
    /// needs only the request id to refuse the call.
    #[must_use]
    pub fn request_id(topic: &str) -> Option<&str> {
        let at = topic.strip_prefix(METHOD_REQUEST).and_then(|it| Some(&it[it.find("/?")? + 1..]))?;
        parameter(at, "$rid").filter(|it| !it.is_empty())
    }
}

/// Returns the value of a parameter in the last part of a topic, `?name=value&name=value`, without decoding.
fn parameter<'a>(rest: &'a str, name: &str) -> Option<&'a str> {
    rest.strip_prefix('?')?.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_twin_responses() {
        let answer = |status, id: &str, version| TwinResponseTopic { status, request_id: id.into(), version };
        for (topic, expected) in [
            ("$iothub/twin/res/200/?$rid=1", Some(answer(200, "1", None))),
            ("$iothub/twin/res/204/?$rid=a-b&$version=7", Some(answer(204, "a-b", Some(7)))),
            ("$iothub/twin/res/204/?$version=7&$rid=a", Some(answer(204, "a", Some(7)))),
            ("$iothub/twin/res/429/?$rid=1&x=y", Some(answer(429, "1", None))),
            ("$iothub/twin/res/204/?$rid=1&$version=x", Some(answer(204, "1", None))),
            ("$iothub/twin/res/204/?$rid=1&$version=", Some(answer(204, "1", None))),
            ("$iothub/twin/res/204/?$rid=1&$version=-1", Some(answer(204, "1", None))),
            ("$iothub/twin/res/ok/?$rid=1", None),
            ("$iothub/twin/res/200/?$rid=", None),
            ("$iothub/twin/res/200/", None),
            ("$iothub/twin/res/200", None),
            ("$iothub/methods/res/200/?$rid=1", None),
        ] {
            let read = TwinResponseTopic::parse(topic).ok();
            assert_eq!(read, expected, "{topic}");
        }
        assert_eq!(answer(204, "1", Some(7)).encode(), "$iothub/twin/res/204/?$rid=1&$version=7");
        assert_eq!(answer(200, "1", None).encode(), "$iothub/twin/res/200/?$rid=1");
    }

    #[test]
    fn parses_changes_of_desired_properties() {
        for (topic, expected) in [
            ("$iothub/twin/PATCH/properties/desired/?$version=7", Some(Some(7))),
            ("$iothub/twin/PATCH/properties/desired/", Some(None)),
            ("$iothub/twin/PATCH/properties/desired/?$version=", Some(None)),
            ("$iothub/twin/PATCH/properties/reported/?$version=7", None),
            ("$iothub/twin/PATCH/properties/desired", None),
        ] {
            assert_eq!(DesiredTopic::parse(topic).ok().map(|it| it.version), expected, "{topic}");
        }
        assert_eq!(DesiredTopic { version: Some(7) }.encode(), "$iothub/twin/PATCH/properties/desired/?$version=7");
    }

    #[test]
    fn parses_method_calls() {
        let call = |name: &str, id: &str| MethodRequestTopic { name: name.into(), request_id: id.into() };
        for (topic, expected) in [
            ("$iothub/methods/POST/reboot/?$rid=1", Some(call("reboot", "1"))),
            ("$iothub/methods/POST/a%20b%2Fc/?$rid=x=y/z", Some(call("a b/c", "x=y/z"))),
            ("$iothub/methods/POST/reboot/?$rid=", None),
            ("$iothub/methods/POST//?$rid=1", None),
            ("$iothub/methods/POST/%ff/?$rid=1", None),
            ("$iothub/methods/POST/reboot", None),
            ("$iothub/methods/res/200/?$rid=1", None),
        ] {
            assert_eq!(MethodRequestTopic::parse(topic).ok(), expected, "{topic}");
        }
        assert_eq!(call("a b/c", "7").encode(), "$iothub/methods/POST/a%20b%2Fc/?$rid=7");
    }

    #[test]
    fn the_request_id_of_a_call_is_readable_without_a_valid_name() {
        for (topic, expected) in [
            ("$iothub/methods/POST/reboot/?$rid=1", Some("1")),
            ("$iothub/methods/POST/%ff/?$rid=x=y/?z&a=b", Some("x=y/?z")),
            ("$iothub/methods/POST//?$rid=1", Some("1")),
            ("$iothub/methods/POST/a/b/?a=b&$rid=1", Some("1")),
            ("$iothub/methods/POST/%ff/?$rid=", None),
            ("$iothub/methods/POST/%ff/", None),
            ("$iothub/methods/POST/%ff", None),
            ("$iothub/methods/res/200/?$rid=1", None),
        ] {
            assert_eq!(MethodRequestTopic::request_id(topic), expected, "{topic}");
        }
    }
}
