//! The messages that a hub has received, in pages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::state::telemetry::{Telemetry, TelemetryLog};

/// Maximum number of messages in a page.
const PAGE_MAX: usize = 1000;

/// Maximum size of a page, in bytes. A page with a single message may be larger.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Returns a page of the messages that `wanted` selects. The page starts at the offset `from`. The member `next` is
/// the offset of the next page.
///
/// If the log has no message at or after `from`, the page is empty and `next` equals `from`.
///
/// The page does not contain messages that the log has dropped or that `wanted` does not select. The offsets of the
/// page can therefore have gaps.
pub(super) fn page(log: &TelemetryLog, from: u64, wanted: impl Fn(&Telemetry) -> bool) -> Value {
    let mut next = from;
    let mut bytes = 0;
    let mut messages = Vec::new();
    for telemetry in log.from(from) {
        if !wanted(&telemetry) {
            next = telemetry.offset + 1;
            continue;
        }
        bytes += telemetry.message.size();
        if messages.len() == PAGE_MAX || (bytes > MAX_BYTES && !messages.is_empty()) {
            break;
        }
        next = telemetry.offset + 1;
        messages.push(shown(&telemetry));
    }
    json!({ "messages": messages, "next": next })
}

/// Converts a message to JSON. If the body is not UTF-8, the member `bodyBase64` contains the body.
///
/// `systemProperties` contains the system properties that the sender set (such as `$.mid`) and those that the hub added
/// (such as `iothub-connection-device-id`).
pub(super) fn shown(telemetry: &Telemetry) -> Value {
    let message = &telemetry.message;
    let stamps = telemetry.stamps();
    let stamps = stamps.iter().map(|(name, value)| (*name, value.as_str()));
    let system: Map<String, Value> =
        message.system_properties().chain(stamps).map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let properties: Map<String, Value> =
        message.properties().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let (name, body) = match std::str::from_utf8(telemetry.body()) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("bodyBase64", STANDARD.encode(telemetry.body())),
    };
    let mut shown = json!({
        "offset": telemetry.offset,
        "deviceId": telemetry.device_id,
        "enqueuedTime": telemetry.enqueued_time,
        name: body,
        "systemProperties": system,
        "properties": properties,
        "qos": telemetry.qos,
        "duplicate": telemetry.duplicate,
    });
    if let Some(module_id) = &telemetry.module_id {
        shown["moduleId"] = json!(module_id);
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hubward_proto::hub::Message;

    use super::*;
    use crate::state::telemetry::Origin;

    fn filled(messages: impl IntoIterator<Item = Message>) -> TelemetryLog {
        let log = TelemetryLog::new(10_000);
        let origin = Arc::new(Origin {
            device_id: "d1".into(),
            module_id: Some("m1".into()),
            generation_id: "7".into(),
            scope: "module",
            has_certificate: false,
            model_id: None,
        });
        for message in messages {
            log.append(Telemetry::new(&origin, "2024-01-02T03:04:05.0000000Z".into(), message));
        }
        log
    }

    fn offsets(page: &Value) -> (usize, u64) {
        (page["messages"].as_array().expect("an array").len(), page["next"].as_u64().expect("a number"))
    }

    #[test]
    fn shows_every_part_of_a_message() {
        let text = Message::new("21.5 °C").message_id("m1").property("line", "7").flag("late");
        let page = page(&filled([text, Message::new(vec![0xff, 0x00])]), 0, |_| true);
        let expected = json!({
            "offset": 0,
            "deviceId": "d1",
            "moduleId": "m1",
            "enqueuedTime": "2024-01-02T03:04:05.0000000Z",
            "body": "21.5 °C",
            "systemProperties": {
                "$.mid": "m1",
                "iothub-connection-device-id": "d1",
                "iothub-connection-module-id": "m1",
                "iothub-connection-auth-method": r#"{"scope":"module","type":"sas","issuer":"iothub"}"#,
                "iothub-connection-auth-generation-id": "7",
                "iothub-enqueuedtime": "2024-01-02T03:04:05.0000000Z",
                "iothub-message-source": "Telemetry",
            },
            "properties": { "line": "7", "late": null },
            "qos": 1,
            "duplicate": false,
        });
        assert_eq!(page["messages"][0], expected);
        assert_eq!((&page["messages"][1]["bodyBase64"], &page["messages"][1]["body"]), (&json!("/wA="), &Value::Null));
        assert_eq!(page["next"], 2);
    }

    #[test]
    fn a_page_starts_where_the_previous_one_ended() {
        let log = filled((0..1500).map(|it| Message::new(it.to_string())));
        for (from, expected) in [(0, (1000, 1000)), (1000, (500, 1500)), (1500, (0, 1500))] {
            assert_eq!(offsets(&page(&log, from, |_| true)), expected, "{from}");
        }
    }

    #[test]
    fn a_page_of_large_messages_is_short_and_never_empty() {
        let large = |size: usize| Message::new(vec![b'a'; size]);
        let log = filled([large(3 * 1024 * 1024), large(2 * 1024 * 1024), large(5 * 1024 * 1024), large(1)]);
        for (from, expected) in [(0, (1, 1)), (1, (1, 2)), (2, (1, 3)), (3, (1, 4))] {
            assert_eq!(offsets(&page(&log, from, |_| true)), expected, "{from}");
        }
    }
}
