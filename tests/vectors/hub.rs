//! IoT Hub over MQTT: login, telemetry topics.

use hubward_proto::hub::{HubIdentity, HubUsername, Message, TelemetryTopic};
use hubward_proto::{DeviceId, HubHost, ModuleId, ProtoError};
use serde_json::Value;

use super::{Sides, Vector};

/// Client id and user name: ours are Python's to the letter; every SDK's reads back to the inputs.
pub(super) fn connect(vector: &Vector) -> Sides {
    let identity = identity(vector, vector.text("host"));
    let model_id = vector.optional("model_id").map(str::to_owned);
    let agent = |sdk: &str| format!("{}{}", vector.text(&format!("{sdk}_user_agent")), vector.text("product_info"));

    let python = vector.python().expect("Python's login");
    let mut ours = HubUsername::new(identity.clone()).user_agent(Some(agent("python"))).model_id(model_id.clone());
    // Python names an older api-version, and another one when there is a model id.
    let api_version = if model_id.is_some() { "2020-09-30" } else { "2019-10-01" };
    ours.api_version = Some(api_version.to_owned());
    assert_eq!(identity.client_id(), python["client_id"], "{}", vector.id);
    assert_eq!(ours.encode(), python["username"], "{}", vector.id);

    for (sdk, api_version) in [("python", api_version), ("node", "2021-04-12")] {
        let name = format!("{} {sdk}", vector.id);
        let result = vector.results.iter().find(|it| it.sdk.starts_with(sdk)).expect("a result of each SDK");
        let text = result.output["username"].as_str().expect("a user name");
        let read = HubUsername::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.identity, identity, "{name}");
        assert_eq!(read.identity.client_id(), result.output["client_id"], "{name}");
        assert_eq!(read.api_version.as_deref(), Some(api_version), "{name}");
        assert_eq!(read.user_agent, Some(agent(sdk)), "{name}");
        assert_eq!(read.model_id, model_id, "{name}");
    }
    assert_eq!(vector.results.len(), 2, "{}: no SDK is left out", vector.id);
    Sides { client: true, emulator: true }
}

/// The topic of a telemetry message: ours is Python's to the letter (Python sorts application
/// properties, we keep the order they were set in); every SDK's reads back to the inputs.
pub(super) fn telemetry_topic(vector: &Vector) -> Sides {
    let identity = identity(vector, "hub.example");
    let prefix = TelemetryTopic::prefix(&identity);
    let mut properties = properties(vector);
    let python = vector.python().and_then(Value::as_str).expect("Python's topic");

    // A device id with # or + makes a topic that MQTT forbids to publish to; we say so instead.
    let client = vector.id != "telemetry-odd-device-id";
    if client {
        let in_order = TelemetryTopic::encode(&prefix, &message(vector, &properties)).expect("a topic");
        properties.sort_unstable();
        let sorted = TelemetryTopic::encode(&prefix, &message(vector, &properties)).expect("a topic");
        assert_eq!(sorted, python, "{}", vector.id);
        // Node keeps the order too; where it also encodes alike, we agree with it.
        if vector.id == "telemetry-property-order" || vector.id == "telemetry-system-and-properties" {
            assert_eq!(Some(in_order.as_str()), vector.node().and_then(Value::as_str), "{}", vector.id);
        }
    } else {
        let refused = TelemetryTopic::encode(&prefix, &message(vector, &properties));
        assert!(matches!(refused, Err(ProtoError::Topic { .. })), "{}: {refused:?}", vector.id);
    }

    for result in &vector.results {
        let name = format!("{} {}", vector.id, result.sdk);
        let topic = result.output.as_str().expect("a topic");
        let read = TelemetryTopic::parse(&identity, topic).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut found: Vec<(&str, Option<&str>)> = read.bag.iter().collect();
        let mut expected: Vec<(&str, Option<&str>)> = wire_names(vector)
            .into_iter()
            .chain(properties.iter().map(|(name, value)| {
                // Node writes this application property as the system property it stands for.
                let is_component = *name == "dt-subject" && result.sdk.starts_with("node");
                (if is_component { "$.sub" } else { name }, Some(*value))
            }))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    Sides { client, emulator: !vector.results.is_empty() }
}

fn identity(vector: &Vector, host: &str) -> HubIdentity {
    let device = DeviceId::new(vector.text("device_id")).expect("a device id");
    let mut identity = HubIdentity::new(HubHost::new(host).expect("a host"), device);
    identity.module = vector.optional("module_id").map(|it| ModuleId::new(it).expect("a module id"));
    identity
}

/// The application properties of the input, in its order.
fn properties(vector: &Vector) -> Vec<(&str, &str)> {
    let pairs = vector.inputs["message"]["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    pairs.iter().map(|it| (it[0].as_str().expect("a name"), it[1].as_str().expect("a value"))).collect()
}

/// The input as a message of ours.
fn message(vector: &Vector, properties: &[(&str, &str)]) -> Message {
    let mut message = Message::new("");
    for (name, value) in vector.inputs["message"].as_object().expect("a message") {
        let text = value.as_str().unwrap_or_default();
        message = match name.as_str() {
            "message_id" => message.message_id(text),
            "correlation_id" => message.correlation_id(text),
            "user_id" => message.user_id(text),
            "content_type" => message.content_type(text),
            "content_encoding" => message.content_encoding(text),
            "expiry" => message.expiry(text),
            "output_name" => message.output(text),
            "security" => message.interface(SECURITY),
            "properties" => message,
            other => panic!("{}: an input `{other}` that this test does not know", vector.id),
        };
    }
    properties.iter().fold(message, |message, (name, value)| message.property(*name, *value))
}

/// The system properties of the input under their names on the wire, typed from the documentation.
fn wire_names(vector: &Vector) -> Vec<(&str, Option<&str>)> {
    let system = vector.inputs["message"].as_object().expect("a message").iter();
    system
        .filter(|(name, _)| *name != "properties")
        .map(|(name, value)| match name.as_str() {
            "message_id" => ("$.mid", value.as_str()),
            "correlation_id" => ("$.cid", value.as_str()),
            "user_id" => ("$.uid", value.as_str()),
            "content_type" => ("$.ct", value.as_str()),
            "content_encoding" => ("$.ce", value.as_str()),
            "expiry" => ("$.exp", value.as_str()),
            "output_name" => ("$.on", value.as_str()),
            "security" => ("$.ifid", Some(SECURITY)),
            other => panic!("{}: an input `{other}` that this test does not know", vector.id),
        })
        .collect()
}

/// Source: [doc] hub-device documentation of security messages; vector `telemetry-security`.
const SECURITY: &str = "urn:azureiot:Security:SecurityAgent:1";
