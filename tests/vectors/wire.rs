//! Compares our encoders and parsers with the examples in Microsoft's documentation of IoT Hub over MQTT.
//!
//! We typed the examples by hand. They cover every topic in each direction, and every form of a property bag.
//!
//! Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, unless a comment names another one.

use hubward_proto::hub::{
    CloudToDeviceTopic, DesiredTopic, HubIdentity, HubUsername, IncomingMessage, Message, MethodRequestTopic,
    MethodResponseTopic, ModuleInputTopic, Properties, PropertyBag, TelemetryTopic, TopicFilter, Twin, TwinGetTopic,
    TwinReportedTopic, TwinResponseTopic,
};
use serde_json::json;

fn device() -> HubIdentity {
    HubIdentity::new("contoso.azure-devices.net".parse().expect("a host"), "d1".parse().expect("an id"))
}

fn module() -> HubIdentity {
    device().module("m1".parse().expect("an id"))
}

/// Client ID and user name: `[doc]`, "Using the MQTT protocol directly (as a device / as a module)".
#[test]
fn logins() {
    for (identity, client_id, username, resource) in [
        (
            device(),
            "d1",
            "contoso.azure-devices.net/d1/?api-version=2021-04-12",
            "contoso.azure-devices.net/devices/d1",
        ),
        (
            module(),
            "d1/m1",
            "contoso.azure-devices.net/d1/m1/?api-version=2021-04-12",
            "contoso.azure-devices.net/devices/d1/modules/m1",
        ),
    ] {
        assert_eq!(identity.client_id(), client_id);
        assert_eq!(identity.sas_resource(), resource);
        assert_eq!(HubUsername::new(identity.clone()).encode(), username);
        let read = HubUsername::parse(username).expect("a user name");
        assert_eq!((read.identity, read.api_version.as_deref()), (identity, Some("2021-04-12")));
    }
    // User names with a PnP model ID and a product. The emulator must accept each form: `[sdk]` node does not encode
    // the model ID; other SDKs encode it with upper-case or lower-case hexadecimal digits.
    for username in [
        "contoso.azure-devices.net/d1/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1\
         &DeviceClientType=acme%2F2.1",
        "contoso.azure-devices.net/d1/?api-version=2020-09-30&DeviceClientType=acme%2F2.1\
         &model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1",
        "contoso.azure-devices.net/d1/?api-version=2020-09-30&DeviceClientType=acme%2f2.1\
         &model-id=dtmi%3acom%3aexample%3aThermostat%3b1",
    ] {
        let read = HubUsername::parse(username).expect("a user name");
        assert_eq!(read.model_id.as_deref(), Some("dtmi:com:example:Thermostat;1"), "{username}");
        assert_eq!(read.user_agent.as_deref(), Some("acme/2.1"), "{username}");
    }
    let ours = HubUsername::new(device()).user_agent(Some("acme/2.1".into()));
    assert_eq!(
        ours.model_id(Some("dtmi:com:example:Thermostat;1".into())).encode(),
        "contoso.azure-devices.net/d1/?api-version=2021-04-12&DeviceClientType=acme%2F2.1\
         &model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1"
    );
}

/// The filters to which a device may subscribe.
#[test]
fn filters() {
    for (identity, filter, text) in [
        (device(), TopicFilter::CloudToDevice, "devices/d1/messages/devicebound/#"),
        (module(), TopicFilter::ModuleInputs, "devices/d1/modules/m1/inputs/#"),
        (device(), TopicFilter::Methods, "$iothub/methods/POST/#"),
        (device(), TopicFilter::TwinResponses, "$iothub/twin/res/#"),
        (device(), TopicFilter::DesiredProperties, "$iothub/twin/PATCH/properties/desired/#"),
    ] {
        assert_eq!(filter.encode(&identity), text);
        assert_eq!(TopicFilter::parse(&identity, text), Ok(filter));
    }
    // Filters of other SDKs that the emulator must accept: `[sdk]` the embedded C SDK (the first filter), and the C and
    // C# SDKs for modules (the second filter).
    let embedded = TopicFilter::parse(&device(), "devices/+/messages/devicebound/#");
    assert_eq!(embedded, Ok(TopicFilter::CloudToDevice));
    assert_eq!(TopicFilter::parse(&module(), "devices/d1/modules/m1/#"), Ok(TopicFilter::ModuleInputs));
}

/// The topics to which a device publishes. The client writes them, and the emulator parses them.
#[test]
fn topics_from_a_device() {
    for (identity, message, topic) in [
        (device(), Message::new(""), "devices/d1/messages/events/"),
        (device(), Message::new("").property("k", "v").flag("flag"), "devices/d1/messages/events/k=v&flag"),
        (module(), Message::new("").output("out 1"), "devices/d1/modules/m1/messages/events/%24.on=out%201"),
        (
            device(),
            Message::new("").message_id("m1").correlation_id("c1").content_type("application/json"),
            "devices/d1/messages/events/%24.mid=m1&%24.cid=c1&%24.ct=application%2Fjson",
        ),
    ] {
        assert_eq!(TelemetryTopic::encode(&TelemetryTopic::prefix(&identity), &message).as_deref(), Ok(topic));
        let read = TelemetryTopic::parse(&identity, topic).expect(topic);
        assert_eq!(Message::from_wire("".into(), &read.bag), message);
    }
    // Topics of other SDKs that the emulator must accept:
    //
    // * Some SDKs write no slash at the end of a topic.
    // * `[sdk]` java does not encode `$`.
    // * `[sdk]` node ends the topic of an output with a slash.
    for (topic, pairs) in [
        ("devices/d1/messages/events", vec![]),
        ("devices/d1/messages/events/$.mid=m1&k=v", vec![("$.mid", Some("m1")), ("k", Some("v"))]),
        ("devices/d1/messages/events/k=v/", vec![("k", Some("v"))]),
    ] {
        let read = TelemetryTopic::parse(&device(), topic).expect(topic);
        assert_eq!(read.bag.iter().collect::<Vec<_>>(), pairs, "{topic}");
    }

    let get = TwinGetTopic { request_id: "1".into() };
    assert_eq!(get.encode(), "$iothub/twin/GET/?$rid=1");
    assert_eq!(TwinGetTopic::parse("$iothub/twin/GET/?$rid=1"), Ok(get));
    let patch = TwinReportedTopic { request_id: "8dd4ae6e".into() };
    assert_eq!(patch.encode(), "$iothub/twin/PATCH/properties/reported/?$rid=8dd4ae6e");
    assert_eq!(TwinReportedTopic::parse("$iothub/twin/PATCH/properties/reported/?$rid=8dd4ae6e"), Ok(patch));
    let answer = MethodResponseTopic { status: 200, request_id: "1f".into() };
    assert_eq!(answer.encode(), "$iothub/methods/res/200/?$rid=1f");
    assert_eq!(MethodResponseTopic::parse("$iothub/methods/res/200/?$rid=1f"), Ok(answer));
}

/// The topics to which a hub publishes. The emulator writes them, and the client parses them.
#[test]
fn topics_from_a_hub() {
    let answer = |status, version| TwinResponseTopic { status, request_id: "1".into(), version };
    for (topic, written) in [
        ("$iothub/twin/res/200/?$rid=1", answer(200, None)),
        ("$iothub/twin/res/204/?$rid=1&$version=6", answer(204, Some(6))),
        ("$iothub/twin/res/429/?$rid=1", answer(429, None)),
    ] {
        assert_eq!(written.encode(), topic);
        assert_eq!(TwinResponseTopic::parse(topic), Ok(written));
    }
    let desired = DesiredTopic { version: Some(7) };
    assert_eq!(desired.encode(), "$iothub/twin/PATCH/properties/desired/?$version=7");
    assert_eq!(DesiredTopic::parse("$iothub/twin/PATCH/properties/desired/?$version=7"), Ok(desired));
    let call = MethodRequestTopic { name: "reboot".into(), request_id: "1f".into() };
    assert_eq!(call.encode(), "$iothub/methods/POST/reboot/?$rid=1f");
    assert_eq!(MethodRequestTopic::parse("$iothub/methods/POST/reboot/?$rid=1f"), Ok(call));

    let mut bag = PropertyBag::default();
    bag.set("$.cdid", Some("d1".into()));
    bag.set("$.cmid", Some("sender".into()));
    bag.set("k", Some("v".into()));
    let input = ModuleInputTopic { input: "in 1".into(), bag };
    let topic = "devices/d1/modules/m1/inputs/in%201/%24.cdid=d1&%24.cmid=sender&k=v";
    assert_eq!(input.encode(&module()), topic);
    assert_eq!(ModuleInputTopic::parse(&module(), topic), Ok(input));
}

/// The message of the documentation's example. The test writes it and parses it.
#[test]
fn a_message_from_the_cloud() {
    let topic = "devices/d1/messages/devicebound/%24.mid=m1&%24.to=%2Fdevices%2Fd1%2Fmessages%2FdeviceBound\
                 &iothub-ack=full&k=v";
    let read = CloudToDeviceTopic::parse(&device(), topic).expect("the topic");
    assert_eq!(read.encode(&device().device), topic);
    let message = IncomingMessage::new("hello", read.bag);
    assert_eq!(message.message_id(), Some("m1"));
    assert_eq!(message.to(), Some("/devices/d1/messages/deviceBound"));
    assert_eq!(message.ack(), Some("full"));
    assert_eq!(message.properties().collect::<Vec<_>>(), [("k", Some("v"))]);
}

/// Texts with every form of a property bag. The result is `Err` if the text is not a property bag.
#[test]
fn property_bags() {
    for (text, expected) in [
        ("", Ok(vec![])),
        ("k=v", Ok(vec![("k", Some("v"))])),
        ("k", Ok(vec![("k", None)])),
        ("k=", Ok(vec![("k", Some(""))])),
        ("prop1&prop2=&prop3=a%20string", Ok(vec![("prop1", None), ("prop2", Some("")), ("prop3", Some("a string"))])),
        ("?prop1&prop2=", Ok(vec![("prop1", None), ("prop2", Some(""))])),
        ("a=1+2", Ok(vec![("a", Some("1+2"))])),
        ("a=1%2B2", Ok(vec![("a", Some("1+2"))])),
        ("a=%25&b=%26&c=%3D&d=%2F", Ok(vec![("a", Some("%")), ("b", Some("&")), ("c", Some("=")), ("d", Some("/"))])),
        ("a=raw space", Ok(vec![("a", Some("raw space"))])),
        ("a='()*!", Ok(vec![("a", Some("'()*!"))])),
        ("%C3%A9=%E6%B8%A9", Ok(vec![("é", Some("温"))])),
        ("%24.mid=1&$.cid=2", Ok(vec![("$.mid", Some("1")), ("$.cid", Some("2"))])),
        ("a=1&a=2", Ok(vec![("a", Some("2"))])),
        ("a=1/b=2", Ok(vec![("a", Some("1"))])),
        ("=v", Err(())),
        ("&", Err(())),
        ("a=1&", Err(())),
        ("a=b=c", Err(())),
        ("a=%FF", Err(())),
    ] {
        let read = PropertyBag::parse(text);
        match (&read, expected) {
            (Ok(bag), Ok(pairs)) => assert_eq!(bag.iter().collect::<Vec<_>>(), pairs, "{text}"),
            (Err(_), Err(())) => {}
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        }
    }
}

/// The bodies of the examples in the sections "Retrieving / Updating a device twin's properties".
#[test]
fn bodies_about_the_twin() {
    let body = br#"{
        "desired": { "telemetrySendFrequency": "5m", "$version": 12 },
        "reported": { "telemetrySendFrequency": "5m", "batteryLevel": 55, "$version": 123 }
    }"#;
    let twin = Twin::parse(body).expect("a twin");
    assert_eq!((twin.desired.version, twin.reported.version), (12, 123));
    assert_eq!(twin.desired.values["telemetrySendFrequency"], "5m");
    assert_eq!(json!(twin.reported.values), json!({ "telemetrySendFrequency": "5m", "batteryLevel": 55 }));
    let written: serde_json::Value = serde_json::from_slice(&twin.encode()).expect("JSON");
    assert_eq!(written, serde_json::from_slice::<serde_json::Value>(body).expect("JSON"));

    let notice = Properties::parse_patch(br#"{"telemetrySendFrequency":"10m","route":null,"$version":8}"#);
    let notice = notice.expect("a patch");
    assert_eq!(notice.version, 8);
    assert_eq!(json!(notice.values), json!({ "telemetrySendFrequency": "10m", "route": null }));
}
