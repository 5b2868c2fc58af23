//! IoT Hub over MQTT: the login, and the topics in each direction.

use hubward_proto::hub::{
    CloudToDeviceTopic, HubIdentity, HubUsername, Message, MethodResponseTopic, ModuleInputTopic, PropertyBag,
    TelemetryTopic, TopicFilter, TwinGetTopic, TwinReportedTopic,
};
use hubward_proto::{DeviceId, HubHost, ModuleId, ProtoError};
use serde_json::Value;

use super::{Sides, Vector};

/// Source: [doc] hub-device documentation of security messages; vector `telemetry-security`.
const SECURITY: &str = "urn:azureiot:Security:SecurityAgent:1";

/// Client ID and user name. The client writes the same texts as Python. The emulator parses the texts of both SDKs, and
/// gets the values from which the SDKs made them.
pub(super) fn connect(vector: &Vector) -> Sides {
    let identity = identity(vector, vector.text("host"));
    let model_id = vector.optional("model_id").map(str::to_owned);
    let agent = |sdk: &str| format!("{}{}", vector.text(&format!("{sdk}_user_agent")), vector.text("product_info"));

    let python = vector.python().expect("Python's login");
    let mut ours = HubUsername::new(identity.clone()).user_agent(Some(agent("python"))).model_id(model_id.clone());
    // Python uses two api-versions, which are older than the one of hubward: one for devices with a model ID, and one
    // for devices without a model ID.
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
    assert_eq!(vector.results.len(), 2, "{}: a result of every SDK", vector.id);
    Sides { client: true, emulator: true }
}

/// The topic of a telemetry message. The client writes the same topic as Python, except for the order of application
/// properties: Python sorts them by name, and the client keeps the order in which the application set them.
///
/// The emulator parses the topics of every SDK to the inputs.
pub(super) fn telemetry_topic(vector: &Vector) -> Sides {
    let identity = identity(vector, "hub.example");
    let prefix = TelemetryTopic::prefix(&identity);
    let mut properties = properties(vector);
    let python = vector.python().and_then(Value::as_str).expect("Python's topic");

    // This device ID contains `#` and `+`. MQTT forbids these characters in the topic of a PUBLISH, so our client
    // returns an error.
    let client = vector.id != "telemetry-odd-device-id";
    if client {
        let in_order = TelemetryTopic::encode(&prefix, &message(vector, &properties)).expect("a topic");
        properties.sort_unstable();
        let sorted = TelemetryTopic::encode(&prefix, &message(vector, &properties)).expect("a topic");
        assert_eq!(sorted, python, "{}", vector.id);
        // Node does not sort the properties, and neither does our client. In these two vectors, both also encode the
        // properties in the same way, so the two topics must be equal.
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
                // Node does not write the application property `dt-subject`. It writes the system property `$.sub`,
                // which has the same meaning.
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

/// A message to a device or module. The client parses its topic, and the emulator writes the topic. When an SDK parses
/// a topic, it loses some information (the comments below say which). Our client must keep all information.
pub(super) fn decode_topic(vector: &Vector) -> Sides {
    let identity = identity(vector, "hub.example");
    let topic = vector.text("topic");
    let (bag, input, written) = if identity.module.is_some() {
        let read = ModuleInputTopic::parse(&identity, topic).unwrap_or_else(|error| panic!("{}: {error}", vector.id));
        let written = read.encode(&identity);
        (read.bag, Some(read.input), written)
    } else {
        let read = CloudToDeviceTopic::parse(&identity, topic).unwrap_or_else(|error| panic!("{}: {error}", vector.id));
        let written = read.encode(&identity.device);
        (read.bag, None, written)
    };
    for result in &vector.results {
        let name = format!("{} {}", vector.id, result.sdk);
        let is_node = result.sdk.starts_with("node");
        let read = result.output["ok"].as_object().expect("a reading");
        let mut expected = PropertyBag::default();
        for (field, value) in read["system"].as_object().expect("system properties") {
            let value = value.as_str().expect("a text");
            let wire = match field.as_str() {
                "message_id" => "$.mid",
                "correlation_id" => "$.cid",
                "user_id" => "$.uid",
                "to" => "$.to",
                "content_type" => "$.ct",
                "content_encoding" => "$.ce",
                "expiry_time_utc" => "$.exp",
                "ack" => "iothub-ack",
                "input_name" => {
                    // Node does not decode the percent-encoding.
                    let decoded = if is_node { value.replace("%20", " ") } else { value.to_owned() };
                    assert_eq!(input.as_deref(), Some(decoded.as_str()), "{name}");
                    continue;
                }
                other => panic!("{name}: a property `{other}` that this test does not know"),
            };
            expected.set(wire, Some(value.to_owned()));
        }
        for (field, value) in read["properties"].as_object().expect("application properties") {
            // If a property has a name but no value, Node returns the text `undefined`.
            let no_value = is_node && value == "undefined";
            expected.set(field, value.as_str().filter(|_| !no_value).map(str::to_owned));
        }
        // Python loses `$.to`.
        let found: Vec<_> = bag.iter().filter(|(it, _)| is_node || *it != "$.to").collect();
        assert_eq!(found.len(), expected.iter().count(), "{name}");
        for (field, value) in found {
            assert_eq!(expected.value(field), Some(value), "{name}: {field}");
        }
    }
    assert_eq!(vector.results.len(), 2, "{}: a result of every SDK", vector.id);
    // In the topics of these two vectors, `$` or `+` is not percent-encoded. The client must accept such a topic. The
    // emulator always encodes these characters, so it writes another topic than the vector.
    let emulator = !matches!(vector.id.as_str(), "decode-c2d-plus" | "decode-c2d-literal-dollar");
    if emulator {
        assert_eq!(written, topic, "{}", vector.id);
    }
    Sides { client: true, emulator }
}

/// The filters and requests of a device. The client writes them, and the emulator parses them.
pub(super) fn topics(vector: &Vector) -> Sides {
    let identity = identity(vector, "hub.example");
    let messages = if identity.module.is_some() { TopicFilter::ModuleInputs } else { TopicFilter::CloudToDevice };
    let request_id = vector.text("request_id").to_owned();
    let get = TwinGetTopic { request_id: request_id.clone() };
    let reported = TwinReportedTopic { request_id };
    let response = MethodResponseTopic {
        status: i32::try_from(vector.number("method_status")).expect("a status"),
        request_id: vector.text("method_request_id").to_owned(),
    };
    for result in &vector.results {
        let name = format!("{} {}", vector.id, result.sdk);
        let field = |it: &str| result.output[it].as_str().unwrap_or_else(|| panic!("{name}: {it}"));
        for (key, filter) in [
            ("c2d_or_input", messages),
            ("methods", TopicFilter::Methods),
            ("twin_response", TopicFilter::TwinResponses),
            ("twin_patch", TopicFilter::DesiredProperties),
        ] {
            assert_eq!(filter.encode(&identity), field(key), "{name}");
            assert_eq!(TopicFilter::parse(&identity, field(key)), Ok(filter), "{name}");
        }
        assert_eq!(get.encode(), field("twin_get"), "{name}");
        assert_eq!(TwinGetTopic::parse(field("twin_get")).as_ref(), Ok(&get), "{name}");
        assert_eq!(reported.encode(), field("twin_reported"), "{name}");
        assert_eq!(TwinReportedTopic::parse(field("twin_reported")).as_ref(), Ok(&reported), "{name}");
        assert_eq!(response.encode(), field("method_response"), "{name}");
        assert_eq!(MethodResponseTopic::parse(field("method_response")).as_ref(), Ok(&response), "{name}");
    }
    assert_eq!(vector.results.len(), 2, "{}: a result of every SDK", vector.id);
    Sides { client: true, emulator: true }
}

fn identity(vector: &Vector, host: &str) -> HubIdentity {
    let device = DeviceId::new(vector.text("device_id")).expect("a device id");
    let mut identity = HubIdentity::new(HubHost::new(host).expect("a host"), device);
    identity.module = vector.optional("module_id").map(|it| ModuleId::new(it).expect("a module id"));
    identity
}

/// Returns the application properties of the input, in their order.
fn properties(vector: &Vector) -> Vec<(&str, &str)> {
    let pairs = vector.inputs["message"]["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    pairs.iter().map(|it| (it[0].as_str().expect("a name"), it[1].as_str().expect("a value"))).collect()
}

/// The input as a `Message`.
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

/// Returns the system properties of the input under their wire names. The wire names are copied by hand from the
/// documentation.
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
