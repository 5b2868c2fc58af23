//! Tests the client against a scripted hub. The tests compare the bytes of the client with the wire examples of the
//! documentation.
//!
//! The examples are typed by hand, so the tests can find an error in our encoders.
//!
//! Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, unless a comment names another one.

mod incoming;
mod peer;
mod twin;

use hubward::Message;
use hubward::transport::HubLogin;
use hubward_tests::cloud::fast_reconnect;

use peer::{client, client_with, device, module};

/// The CONNECT of a device and of a module. The CONNECT of the device has a product name and a PnP model ID.
#[tokio::test]
async fn the_login_matches_the_documentation() {
    let login = HubLogin::new(device()).user_agent("acme-pump/2.1").model_id("dtmi:com:example:Thermostat;1");
    let (_client, mut hub) = client_with(login, fast_reconnect());
    let login = hub.accept().await.login;
    assert_eq!(login.client_id, "d1");
    assert_eq!(
        login.username,
        "contoso.azure-devices.net/d1/?api-version=2021-04-12&DeviceClientType=acme-pump%2F2.1\
         &model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1"
    );
    assert!(!login.clean, "the client keeps its session, as Microsoft's SDKs do");
    let signed = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fd1&sig=";
    assert!(login.password.as_ref().is_some_and(|it| it.starts_with(signed)), "the token covers another resource");

    let (_client, mut hub) = client(module());
    let login = hub.accept().await.login;
    assert_eq!(
        (login.client_id.as_str(), login.username.as_str()),
        ("d1/m1", "contoso.azure-devices.net/d1/m1/?api-version=2021-04-12",)
    );
    let signed = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fd1%2Fmodules%2Fm1&sig=";
    assert!(login.password.as_ref().is_some_and(|it| it.starts_with(signed)), "the token covers another resource");
}

/// The topic of a device's telemetry, and the topic of a module's output.
#[tokio::test]
async fn telemetry_uses_the_documented_topics() {
    let (client_of_device, mut hub) = client(device());
    let mut peer = hub.accept().await;
    for (message, topic) in [
        (Message::new("x"), "devices/d1/messages/events/"),
        (
            Message::new("x").message_id("m1").correlation_id("c1").content_type("application/json").property("k", "v"),
            "devices/d1/messages/events/%24.mid=m1&%24.cid=c1&%24.ct=application%2Fjson&k=v",
        ),
        (
            Message::new("x").flag("prop1").property("prop2", "").property("prop3", "a string"),
            "devices/d1/messages/events/prop1&prop2=&prop3=a%20string",
        ),
        (Message::new("x").property("é+", "100% /?#"), "devices/d1/messages/events/%C3%A9%2B=100%25%20%2F%3F%23"),
    ] {
        let (sent, publish) = tokio::join!(client_of_device.send(message), peer.next_publish());
        sent.expect("acknowledged");
        assert_eq!((publish.topic.as_str(), publish.qos), (topic, 1));
    }

    let (client_of_module, mut hub) = client(module());
    let mut peer = hub.accept().await;
    let (sent, publish) =
        tokio::join!(client_of_module.send(Message::new("x").output("out 1").property("k", "v")), peer.next_publish());
    sent.expect("acknowledged");
    assert_eq!(publish.topic, "devices/d1/modules/m1/messages/events/%24.on=out%201&k=v");
}
