//! Parses topics, property bags, user names and paths. If a parser accepts a text, the function encodes the value and
//! parses it again. It checks that the second value is the same as the first.

use std::fmt::Debug;

use hubward_proto::dps::http::{DpsHttpRequest, target};
use hubward_proto::dps::{DpsUsername, OperationTopic, RegisterTopic, ResponseTopic};
use hubward_proto::hub::{
    CloudToDeviceTopic, CredentialResponseTopic, DesiredTopic, HubIdentity, HubUsername, IssueCertificateTopic,
    Message, MethodRequestTopic, MethodResponseTopic, ModuleInputTopic, PropertyBag, TelemetryTopic, TopicFilter,
    TwinGetTopic, TwinReportedTopic, TwinResponseTopic,
};
use hubward_proto::{DeviceId, HubHost, ModuleId, ProtoError};

use super::text;

/// Returns `true` if the parser accepts the text. If so, checks that encoding the result and parsing it again gives the
/// same value.
fn round_trips<T: PartialEq + Debug>(read: Result<T, ProtoError>, write: impl Fn(&T) -> Result<T, ProtoError>) -> bool {
    let Ok(read) = read else { return false };
    assert_eq!(write(&read).as_ref(), Ok(&read));
    true
}

/// Parses the text as each type of topic and as a filter, for the device `d1` and its module `m1`.
pub(super) fn topics(bytes: &[u8]) -> bool {
    let Some(topic) = text(bytes) else { return false };
    let device =
        HubIdentity::new(HubHost::new("hub.example").expect("a host"), DeviceId::new("d1").expect("a device id"));
    let module = device.clone().module(ModuleId::new("m1").expect("a module id"));
    let mut accepted = false;
    accepted |= round_trips(RegisterTopic::parse(topic), |it| RegisterTopic::parse(&it.encode()));
    accepted |= round_trips(OperationTopic::parse(topic), |it| OperationTopic::parse(&it.encode()));
    accepted |= round_trips(ResponseTopic::parse(topic), |it| ResponseTopic::parse(&it.encode()));
    accepted |= round_trips(TwinResponseTopic::parse(topic), |it| TwinResponseTopic::parse(&it.encode()));
    accepted |= round_trips(DesiredTopic::parse(topic), |it| DesiredTopic::parse(&it.encode()));
    accepted |= round_trips(MethodRequestTopic::parse(topic), |it| {
        assert_eq!(MethodRequestTopic::request_id(topic), Some(it.request_id.as_str()));
        MethodRequestTopic::parse(&it.encode())
    });
    accepted |= round_trips(CredentialResponseTopic::parse(topic), |it| CredentialResponseTopic::parse(&it.encode()));
    accepted |= round_trips(IssueCertificateTopic::parse(topic), |it| {
        assert!(IssueCertificateTopic::is_request(topic));
        IssueCertificateTopic::parse(&it.encode())
    });
    accepted |= round_trips(TwinGetTopic::parse(topic), |it| TwinGetTopic::parse(&it.encode()));
    accepted |= round_trips(TwinReportedTopic::parse(topic), |it| TwinReportedTopic::parse(&it.encode()));
    accepted |= round_trips(MethodResponseTopic::parse(topic), |it| MethodResponseTopic::parse(&it.encode()));
    accepted |= round_trips(CloudToDeviceTopic::parse(&device, topic), |it| {
        CloudToDeviceTopic::parse(&device, &it.encode(&device.device))
    });
    accepted |= round_trips(ModuleInputTopic::parse(&module, topic), |it| {
        ModuleInputTopic::parse(&module, &it.encode(&module))
    });
    for identity in [&device, &module] {
        accepted |=
            round_trips(TopicFilter::parse(identity, topic), |it| TopicFilter::parse(identity, &it.encode(identity)));
        if let Ok(telemetry) = TelemetryTopic::parse(identity, topic) {
            accepted = true;
            check_telemetry(identity, &telemetry);
        }
    }
    accepted
}

/// Encodes the message of a telemetry topic and parses it again. Checks that the message is the same. The encoded topic
/// may differ from the original, because the encoder writes system properties first.
fn check_telemetry(identity: &HubIdentity, topic: &TelemetryTopic) {
    let message = Message::from_wire("body".into(), &topic.bag);
    match TelemetryTopic::encode(&TelemetryTopic::prefix(identity), &message) {
        Ok(text) => {
            let second = TelemetryTopic::parse(identity, &text).expect("our own topic");
            assert_eq!(Message::from_wire("body".into(), &second.bag), message);
        }
        // An encoded text may be three times as long as the original, so it may exceed the limit.
        Err(problem) => assert!(matches!(problem, ProtoError::TooLarge { .. }), "{problem}"),
    }
}

/// Parses the text as the property bag at the end of a topic.
pub(super) fn property_bags(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    round_trips(PropertyBag::parse(text), |bag| {
        let most: usize = bag.iter().map(|(name, value)| name.len() + value.map_or(0, str::len)).sum();
        assert!(most <= text.len(), "decoding never makes a text longer");
        let mut built = PropertyBag::default();
        for (name, value) in bag.iter() {
            assert_eq!(bag.value(name), Some(value), "names are unique");
            built.set(name, value.map(str::to_owned));
        }
        assert_eq!(&built, bag);
        PropertyBag::parse(&bag.encode())
    })
}

/// Parses the text as the user name of a CONNECT. Also parses it as the start of an HTTPS request: a method, a space, a
/// path, and optionally a query after `?`.
pub(super) fn user_names(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let mut accepted = round_trips(HubUsername::parse(text), |it| HubUsername::parse(&it.encode()));
    accepted |= round_trips(DpsUsername::parse(text), |it| {
        assert!(DpsUsername::is_dps_username(text) && DpsUsername::is_dps_username(&it.encode()));
        DpsUsername::parse(&it.encode())
    });
    let Some((method, rest)) = text.split_once(' ') else { return accepted };
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    if let Ok(request) = DpsHttpRequest::parse(method, path, query) {
        accepted = true;
        let written = target(&request.id_scope, &request.registration_id, &request.operation, &request.api_version);
        let (path, query) = written.split_once('?').expect("the api-version");
        assert_eq!(DpsHttpRequest::parse(request.operation.method(), path, Some(query)), Ok(request));
    }
    accepted
}
