//! Telemetry arrives exactly as the device sent it, up to the maximum size.

use hubward::error::ProtoError;
use hubward::{Fault, Message, SendError, TransportKind};
use hubward_proto::limits;

use crate::cloud::Cloud;
use crate::scenario::{Outcome, context, ensure};

/// The service finds every system property.
pub(super) async fn sends_every_system_property(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let message = Message::new("<x/>")
        .message_id("m-1")
        .correlation_id("c-1")
        .user_id("u-1")
        .content_type("application/xml; charset=\"utf-8\"")
        .content_encoding("utf-8")
        .creation_time("2026-11-23T12:00:00.000Z")
        .expiry("2026-11-24T12:00:00.000Z")
        .component("thermostat1")
        .interface("urn:azureiot:Security:SecurityAgent:1")
        .property("alert", "true");
    context("sending", hub.send(message).await)?;
    let arrived = cloud.log().wait_for(1).await;
    // Typed from `[doc]` iot/iot-mqtt-connect-to-iot-hub.md and the vectors `telemetry-*`.
    let mut expected = vec![
        ("$.mid", "m-1"),
        ("$.cid", "c-1"),
        ("$.uid", "u-1"),
        ("$.ct", "application/xml; charset=\"utf-8\""),
        ("$.ce", "utf-8"),
        ("$.ctime", "2026-11-23T12:00:00.000Z"),
        ("$.exp", "2026-11-24T12:00:00.000Z"),
        ("$.sub", "thermostat1"),
        ("$.ifid", "urn:azureiot:Security:SecurityAgent:1"),
    ];
    let mut found: Vec<(&str, &str)> = arrived[0].message.system_properties().collect();
    expected.sort_unstable();
    found.sort_unstable();
    ensure(found == expected, || format!("arrived: {found:?}"))?;
    let application: Vec<_> = arrived[0].message.properties().collect();
    ensure(application == [("alert", Some("true"))], || format!("arrived: {application:?}"))?;

    let json = context("JSON", Message::json(&serde_json::json!({ "t": 21.5 })))?;
    context("sending", hub.send(json).await)?;
    let arrived = cloud.log().wait_for(2).await;
    let found: Vec<_> = arrived[1].message.system_properties().collect();
    ensure(found == [("$.ct", "application/json"), ("$.ce", "utf-8")], || format!("the JSON form has {found:?}"))
}

/// Sends every character that a property may contain. Each character occurs alone and with other characters, in names
/// and in values.
pub(super) async fn every_character_arrives(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    // The characters of printable ASCII, and characters of each length in UTF-8. The list also contains a combining
    // mark, and an emoji that consists of several characters.
    let mut characters: Vec<String> = (' '..='~').map(String::from).collect();
    characters.extend(["é", "ñ", "ß", "温", "𝄞", "e\u{301}", "👩\u{200d}🔧", "\u{202e}"].map(str::to_owned));
    let mut sent = Vec::new();
    for character in &characters {
        let name = format!("n{character}");
        sent.push(Message::new(character.clone()).property(name, character.clone()).property(character, "x"));
    }
    let all = characters.concat();
    // Every character that an ID may contain. Source: `[doc]` iot-hub-devguide-messages-construct.md.
    let id = "aZ09-:.+%_#*?!(),=@;$'";
    sent.push(Message::new("all").message_id(id).correlation_id("a=b&c/d?e#f").property(&all, &all));
    for message in &sent {
        context("sending", hub.send(message.clone()).await)?;
    }
    let arrived = cloud.log().wait_for(sent.len() as u64).await;
    for (message, entry) in sent.iter().zip(&arrived) {
        ensure(entry.message == *message, || format!("sent {message:?}, arrived {:?}", entry.message))?;
    }
    ensure(arrived.len() == sent.len(), || format!("{} arrived", arrived.len()))
}

/// The client computes the size of a message as the service does. It sends a message of exactly the maximum size, and
/// refuses a message that is one byte larger. The error contains the limit.
pub(super) async fn the_size_limit_is_exact(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    // The limit for the size of a message is 256 KB. This size is the sum of the body, the values of system properties,
    // and the names and values of application properties.
    let properties = "m-1".len() + "text/plain".len() + "name".len() + "välue".len() + "flag".len();
    let of = |size: usize| {
        Message::new(vec![b'x'; size - properties])
            .message_id("m-1")
            .content_type("text/plain")
            .property("name", "välue")
            .flag("flag")
    };
    ensure(limits::TELEMETRY_MAX == 262_144, || format!("{}", limits::TELEMETRY_MAX))?;
    for _ in 0..2 {
        match hub.send(of(262_145)).await {
            Err(SendError::Refused { source: ProtoError::TooLarge { size: 262_145, limit: 262_144, .. }, .. }) => {}
            other => return Err(format!("the client accepted a message of one byte too many: {other:?}")),
        }
        context("the largest", hub.send(of(262_144)).await)?;
    }
    let long_id = hub.send(Message::new("x").message_id("m".repeat(129))).await;
    ensure(long_id.as_ref().is_err_and(|it| it.fault() == Some(Fault::Request)), || format!("a long id: {long_id:?}"))?;
    let nameless = hub.send(Message::new("x").property("", "v")).await;
    ensure(matches!(nameless, Err(SendError::Refused { .. })), || {
        format!("a property with an empty name: {nameless:?}")
    })?;
    let log = cloud.log();
    ensure(log.total() == 2, || format!("{} messages arrived", log.total()))?;
    ensure(log.all().iter().all(|it| it.message.size() == 262_144), || "another size arrived".into())?;
    ensure(hub.state().borrow().is_connected(), || "the connection was lost".into())
}
