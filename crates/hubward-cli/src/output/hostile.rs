//! Tests all renderers with texts that contain control characters. A device, a hub or DPS may send such texts.

use hubward::hub::IncomingMessage;
use hubward::twin::{Properties, Twin};
use serde_json::{Map, Value, json};

use super::table::Table;
use super::visible::{HOSTILE, is_visible};
use super::{Answer, DeviceEvent, Event, Format, shown, text};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Checks that a text for stdout contains no control characters, and exactly `lines` lines. If there are more lines,
/// text from a peer has added one.
fn check(text: &str, lines: usize) {
    assert!(is_visible(text) && !text.contains('\t'), "{text:?}");
    assert_eq!(text.lines().count(), lines, "{text:?}");
}

fn all(text: &str) -> Map<String, Value> {
    Map::from_iter([(text.to_owned(), json!([text, { text: text }]))])
}

#[test]
fn device_events_contain_no_control_characters() {
    for hostile in HOSTILE {
        let payload = json!({ *hostile: hostile }).to_string().into_bytes();
        let mut message = IncomingMessage::default().input(*hostile);
        message.body = hostile.as_bytes().to_vec().into();
        message.bag.set(*hostile, Some((*hostile).to_owned()));
        let mut twin = Twin::default();
        twin.desired = Properties::new(1, all(hostile));
        twin.reported = Properties::new(1, all(hostile));
        for (event, lines) in [
            (DeviceEvent::Twin(&twin), 3),
            (DeviceEvent::Desired(&twin.desired), 1),
            (DeviceEvent::Call { number: 1, method: hostile, payload: &payload }, 1),
            (
                DeviceEvent::Answer {
                    number: 1,
                    method: hostile,
                    status: 200,
                    payload: &payload,
                    problem: Some(hostile),
                },
                1,
            ),
            (DeviceEvent::Received { number: 1, message: &message }, 3),
            (DeviceEvent::Left { number: 1, reason: hostile }, 1),
            (DeviceEvent::Unsent { number: 1, reason: hostile }, 1),
        ] {
            check(&text::render(&Event::FromDevice(&event)).expect("a text"), lines);
        }
    }
}

#[test]
fn assignments_and_errors_contain_no_control_characters() {
    for hostile in HOSTILE {
        let record = json!({ "substatus": hostile, "payload": { *hostile: hostile } });
        check(&text::assigned("d", "hub", &serde_json::from_value(record).expect("a record")), 5);
        let mut failure = Failure::new(ExitCode::Refused, "stage", "fault".to_owned(), *hostile).hint(*hostile);
        failure.endpoint = Some((*hostile).to_owned());
        failure.tracking_id = Some((*hostile).to_owned());
        failure.messages.push((*hostile).to_owned());
        check(&text::error(&failure), 4);
    }
}

#[test]
fn answers_of_a_service_contain_no_control_characters() {
    let columns = &[("Name", "/name"), ("List", "/list"), ("Object", "/object")];
    for hostile in HOSTILE {
        let thing = json!({ "name": hostile, "list": [hostile], "object": all(hostile), *hostile: all(hostile) });
        let answer = Answer::of(thing.to_string(), columns, true).expect("JSON");
        for format in [Format::Text, Format::Table, Format::Tsv] {
            let text = shown(&answer.in_format(format));
            assert!(is_visible(&text), "{format:?}: {text:?}");
        }
        // Scripts split rows at line ends and cells at tabs.
        let rows = Table::of(std::slice::from_ref(&thing), columns).tsv();
        assert_eq!((rows.lines().count(), rows.matches('\t').count()), (1, 2), "{rows:?}");
        let any = Table::of_any(std::slice::from_ref(&thing)).aligned();
        assert!(is_visible(&any) && any.lines().count() == 3, "{any:?}");
    }
}

#[test]
fn json_stays_exact() {
    for hostile in HOSTILE {
        let body = json!({ "name": hostile }).to_string();
        let answer = Answer::of(body.clone(), &[], true).expect("JSON");
        assert_eq!(answer.in_format(Format::Json), body);
    }
}
