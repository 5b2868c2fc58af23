//! DPS over MQTT: login, topics, bodies and waiting times.

use std::time::{Duration, SystemTime};

use hubward_proto::dps::{
    AssignmentStatus, DeviceRegistration, DpsBody, DpsReply, DpsUsername, OperationTopic, RESPONSE_FILTER,
    RegisterTopic, Registration, RegistrationOperation, ResponseTopic, RetryPolicy, Step,
};
use hubward_proto::{IdScope, OperationId, RegistrationId, retry_after};
use serde_json::Value;

use super::{Sides, Vector};

/// Compares the packets that a client sends, from CONNECT to the poll of the operation.
pub(super) fn flow(vector: &Vector) -> Sides {
    let id_scope = IdScope::new(vector.text("id_scope")).expect("an id scope");
    let registration_id = RegistrationId::new(vector.text("registration_id")).expect("a registration id");
    let operation_id = OperationId::new(vector.text("operation_id")).expect("an operation id");
    let register = RegisterTopic { request_id: vector.text("request_id").to_owned() };
    let operation = OperationTopic { request_id: register.request_id.clone(), operation_id };
    let payload = Some(vector.inputs["payload"].clone()).filter(|it| !it.is_null());
    let body = DeviceRegistration::new(&registration_id, payload);
    let username = DpsUsername {
        id_scope,
        registration_id,
        api_version: "2019-03-31".to_owned(),
        client_version: Some(vector.text("python_user_agent").to_owned()),
    };

    // The client writes the same texts as Python, except for the order and the spacing of JSON.
    let python = vector.python().expect("Python's flow");
    assert_eq!(username.registration_id.as_str(), python["client_id"], "{}", vector.id);
    assert_eq!(username.encode(), python["username"], "{}", vector.id);
    assert_eq!(RESPONSE_FILTER, python["subscribe"], "{}", vector.id);
    assert_eq!(register.encode(), python["register_topic"], "{}", vector.id);
    assert_eq!(operation.encode(), python["query_topic"], "{}", vector.id);
    // Python always writes `payload`. Our client omits a null payload, as Node does.
    let ours: Value = serde_json::from_slice(&body.encode()).expect("our body is JSON");
    assert_eq!(ours, without_nulls(&json_text(&python["register_body"])), "{}", vector.id);
    let node = vector.node().expect("Node's flow");
    assert_eq!(ours, json_text(&node["register_body"]), "{}", vector.id);

    // The emulator: it parses the packets of each SDK.
    for result in &vector.results {
        let name = format!("{} {}", vector.id, result.sdk);
        let field = |it: &str| result.output[it].as_str().unwrap_or_else(|| panic!("{name}: {it}"));
        let read = DpsUsername::parse(field("username")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(DpsUsername::is_dps_username(field("username")), "{name}");
        assert_eq!((&read.id_scope, &read.registration_id), (&username.id_scope, &username.registration_id), "{name}");
        assert_eq!(read.registration_id.as_str(), field("client_id"), "{name}");
        assert_eq!(read.api_version, "2019-03-31", "{name}");
        let agent = if result.sdk.starts_with("python") {
            vector.text("python_user_agent")
        } else {
            "azure-iot-provisioning-device/1.9.1"
        };
        assert_eq!(read.client_version.as_deref(), Some(agent), "{name}");
        assert_eq!(field("subscribe"), RESPONSE_FILTER, "{name}");
        assert_eq!(RegisterTopic::parse(field("register_topic")).as_ref(), Ok(&register), "{name}");
        assert_eq!(OperationTopic::parse(field("query_topic")).as_ref(), Ok(&operation), "{name}");
        assert_eq!(DeviceRegistration::parse(field("register_body").as_bytes()).as_ref(), Ok(&body), "{name}");
    }
    Sides { client: true, emulator: true }
}

/// The time until the first poll. Python ignores the Retry-After of DPS's first answer, and waits two seconds. Our
/// client waits as long as the Retry-After says.
pub(super) fn timing(vector: &Vector) -> Sides {
    let python = vector.python().expect("Python's times");
    assert_eq!(python["wait_before_first_query"], 2, "{}", vector.id);
    let wait = retry_after::parse(vector.text("register_response_retry_after"), SystemTime::UNIX_EPOCH);
    assert_eq!(wait, Some(Duration::from_secs(7)), "{}", vector.id);
    #[expect(clippy::disallowed_methods, reason = "an arbitrary starting time, from which the test calculates")]
    let start = std::time::Instant::now();
    let mut flow = Registration::new(RetryPolicy::default(), None);
    assert_eq!(flow.step(start), Step::Register);
    let operation_id = "4.op".to_owned();
    let answer = RegistrationOperation { operation_id, status: AssignmentStatus::Assigning, registration_state: None };
    flow.on_reply(start, 0.5, Ok(&DpsReply::new(DpsBody::Operation(Box::new(answer)), wait)));
    let due = start + Duration::from_secs(7);
    assert_eq!(flow.step(start), Step::WaitUntil(due), "{}", vector.id);
    assert_eq!(flow.step(due - Duration::from_millis(1)), Step::WaitUntil(due), "{}", vector.id);
    assert!(matches!(flow.step(due), Step::Poll(_)), "{}", vector.id);
    Sides { client: true, emulator: false }
}

/// The topic of an answer. The client parses the topic. The emulator writes the topic, with `$rid` as the first field.
pub(super) fn response_topic(vector: &Vector) -> Sides {
    let topic = vector.text("topic");
    let read = ResponseTopic::parse(topic).unwrap_or_else(|error| panic!("{}: {error}", vector.id));
    let python = vector.python().expect("Python's reading");
    assert_eq!(read.status.to_string(), python["status"], "{}", vector.id);
    assert_eq!(read.request_id, python["properties"]["rid"], "{}", vector.id);
    let emulator = vector.id != "dps-response-429-retry";
    if emulator {
        assert_eq!(read.retry_after.as_deref(), python["properties"]["retry-after"].as_str(), "{}", vector.id);
        assert_eq!(read.encode(), topic, "{}", vector.id);
    } else {
        // In this topic, the field `retry-after` comes before `$rid`. Python loses such a field, but our client must
        // keep it.
        assert_eq!(python["properties"].get("retry-after"), None, "{}", vector.id);
        assert_eq!(read.retry_after.as_deref(), Some("120"), "{}", vector.id);
    }
    Sides { client: true, emulator }
}

fn json_text(value: &Value) -> Value {
    serde_json::from_str(value.as_str().expect("a text")).expect("JSON in it")
}

fn without_nulls(value: &Value) -> Value {
    let members = value.as_object().expect("an object").iter();
    Value::Object(members.filter(|(_, it)| !it.is_null()).map(|(name, it)| (name.clone(), it.clone())).collect())
}
