//! Every renderer, over texts that try to command a terminal: as a device, a hub or DPS may send them.

use hubward::{IncomingMessage, Properties, Twin};
use serde_json::{Map, Value, json};

use super::table::Table;
use super::visible::{HOSTILE, is_visible};
use super::{Answer, Event, Format, Happening, shown, text};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Text as stdout gets it. The renderer itself takes out what commands a terminal, and its lines are
/// counted: foreign text adds none.
fn check(text: &str, lines: usize) {
    assert!(is_visible(text) && !text.contains('\t'), "{text:?}");
    assert_eq!(text.lines().count(), lines, "{text:?}");
}

fn all(text: &str) -> Map<String, Value> {
    Map::from_iter([(text.to_owned(), json!([text, { text: text }]))])
}

#[test]
fn what_happens_to_a_device() {
    for hostile in HOSTILE {
        let payload = json!({ *hostile: hostile }).to_string().into_bytes();
        let mut message = IncomingMessage::default().through(*hostile);
        message.body = hostile.as_bytes().to_vec().into();
        message.bag.set(*hostile, Some((*hostile).to_owned()));
        let mut twin = Twin::default();
        twin.desired = Properties::new(1, all(hostile));
        twin.reported = Properties::new(1, all(hostile));
        for (happening, lines) in [
            (Happening::Twin(&twin), 3),
            (Happening::Desired(&twin.desired), 1),
            (Happening::Call { number: 1, method: hostile, payload: &payload }, 1),
            (
                Happening::Answer {
                    number: 1,
                    method: hostile,
                    status: 200,
                    payload: &payload,
                    problem: Some(hostile),
                },
                1,
            ),
            (Happening::Received { number: 1, message: &message }, 3),
            (Happening::Left { number: 1, reason: hostile }, 1),
            (Happening::Unsent { number: 1, reason: hostile }, 1),
        ] {
            check(&text::render(&Event::Happening(&happening)).expect("it says something"), lines);
        }
    }
}

#[test]
fn what_dps_answers_and_what_fails() {
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
fn what_a_service_answers() {
    let columns = &[("Name", "/name"), ("List", "/list"), ("Object", "/object")];
    for hostile in HOSTILE {
        let thing = json!({ "name": hostile, "list": [hostile], "object": all(hostile), *hostile: all(hostile) });
        let answer = Answer::of(thing.to_string(), columns, true).expect("JSON");
        for format in [Format::Text, Format::Table, Format::Tsv] {
            let text = shown(&answer.in_format(format));
            assert!(is_visible(&text), "{format:?}: {text:?}");
        }
        // Scripts count lines and tabs.
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
