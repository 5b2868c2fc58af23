//! After a restart, compares the emulator's state with the acknowledged writes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ledger::{Count, Kind, Ledger};
use super::process::Process;
use super::writers::{DEVICE, MESSAGES, enrollment_after, inbox, registration_id};
use crate::cli::http::send;

/// Compares the whole state of the emulator with the ledger.
///
/// The emulator may have applied the last write of a writer without acknowledging it before the kill. The ledger does
/// not know whether this happened. So the function counts the writes that the emulator has applied, and stores this
/// number in the ledger for the next round.
pub(super) async fn everything(process: &Process, ledger: &mut Ledger) -> Result<(), String> {
    let admin = process.admin();
    let get = async |path: &str| match send(&admin, &format!("GET {path}"), "", None).await {
        Ok((200, body)) => Ok(body),
        other => Err(format!("{path}: {other:?}")),
    };
    let export = get("/api/export").await?;
    enrollments(&export, ledger)?;
    registrations(&export, ledger)?;
    if !ledger.of(Kind::Twin).is_empty() {
        twin(&get(&format!("/hubs/localhost/twins/{DEVICE}")).await?, ledger)?;
    }
    let mut bodies = BTreeSet::new();
    let mut from = 0;
    loop {
        let page = get(&format!("/api/telemetry/localhost?format=json&from={from}")).await?;
        let messages = page["messages"].as_array().ok_or_else(|| format!("not a page: {page}"))?;
        for message in messages {
            let offset = message["offset"].as_u64();
            if offset != Some(from) {
                return Err(format!("the next offset is {offset:?} instead of {from}"));
            }
            let number = message["properties"]["n"].as_str().and_then(|it| it.parse::<u64>().ok());
            let number = number.ok_or_else(|| format!("a message without its number: {message}"))?;
            if message["body"].as_str() != Some(&number.to_string()) {
                return Err(format!("the body and the property differ: {message}"));
            }
            bodies.insert(number);
            from += 1;
        }
        if messages.is_empty() {
            break;
        }
    }
    check_numbers("telemetry", &bodies, ledger.count(Kind::Telemetry, DEVICE))?;
    ledger.settle(Kind::Telemetry, DEVICE, bodies.last().copied().unwrap_or_default());

    let count = ledger.count(Kind::Message, "inboxes");
    let mut waiting = BTreeSet::new();
    for number in (0..=count.sent).step_by(usize::try_from(MESSAGES).expect("fits into usize")) {
        let path = format!("/messages/localhost/{}", inbox(number));
        let (status, page) = send(&admin, &format!("GET {path}"), "", None).await.map_err(|it| it.to_string())?;
        // The last device can be missing: the emulator may have been killed before it created this device.
        let messages = if status == 404 { &Vec::new() } else { page["messages"].as_array().ok_or("no messages")? };
        waiting.extend(messages.iter().filter_map(|it| it["messageId"].as_str()?.parse::<u64>().ok()));
    }
    check_numbers("messages to devices", &waiting, count)?;
    ledger.settle(Kind::Message, "inboxes", waiting.last().copied().unwrap_or_default());
    Ok(())
}

/// Checks that `found` contains every acknowledged number, and no number above the last one that was sent.
///
/// `found` contains the numbers of the writes that the emulator has stored. The first write has the number 1.
fn check_numbers(what: &str, found: &BTreeSet<u64>, count: Count) -> Result<(), String> {
    let Count { acknowledged, sent, .. } = count;
    if let Some(lost) = (1..=acknowledged).find(|it| !found.contains(it)) {
        return Err(format!("{what}: {lost} is lost, although {acknowledged} writes were acknowledged"));
    }
    match found.last() {
        Some(more) if *more > sent => Err(format!("{what}: {more} was never sent")),
        _ => Ok(()),
    }
}

fn enrollments(export: &Value, ledger: &Ledger) -> Result<(), String> {
    let all = export["enrollments"].as_array().ok_or("no enrollments")?;
    for (id, count) in ledger.of(Kind::Enrollment) {
        let found = all.iter().find(|it| it["registrationId"] == id.as_str());
        let value = found.map(|it| {
            let twin = &it["initialTwin"];
            (twin["tags"]["a"].as_u64(), twin["properties"]["desired"]["b"].as_u64())
        });
        let applied = [count.sent, count.acknowledged]
            .into_iter()
            .find(|it| value == enrollment_after(*it).map(|value| (Some(value), Some(value))));
        let Some(applied) = applied else {
            return Err(format!("{id} is {value:?} after {count:?}"));
        };
        ledger.settle(Kind::Enrollment, &id, applied);
    }
    Ok(())
}

/// Checks that each acknowledged registration has created a registration record and an identity at the hub. A
/// registration without an acknowledgement may have created both or neither, but not only one of the two.
fn registrations(export: &Value, ledger: &Ledger) -> Result<(), String> {
    let ids = |list: &str, id: &str| -> BTreeSet<String> {
        let all = export[list].as_array().into_iter().flatten();
        all.filter_map(|it| Some(it[id].as_str()?.to_owned())).collect()
    };
    let (records, devices) = (ids("registrations", "registrationId"), ids("devices", "deviceId"));
    for (writer, count) in ledger.of(Kind::Registration) {
        let mut applied = 0;
        for number in 1..=count.sent {
            let id = registration_id(&writer, number);
            match (records.contains(&id), devices.contains(&id)) {
                (true, true) => applied = number,
                (false, false) if number > count.acknowledged => {}
                (record, device) => return Err(format!("{id}: record {record}, device {device}, after {count:?}")),
            }
        }
        ledger.settle(Kind::Registration, &writer, applied);
    }
    Ok(())
}

/// A write changes several values of the twin. Checks that the emulator has stored all values of a write or none of
/// them, and that no version of the twin is lower than the last acknowledged one.
fn twin(twin: &Value, ledger: &Ledger) -> Result<(), String> {
    let number = |pointer: &str| twin.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let (tags, desired, reported) = ("/tags", "/properties/desired", "/properties/reported");
    let cloud = [number(&format!("{tags}/a")), number(&format!("{tags}/b")), number(&format!("{desired}/a"))];
    let values = [cloud[0], cloud[1], cloud[2], number(&format!("{desired}/b"))];
    let device = [number(&format!("{reported}/a")), number(&format!("{reported}/b/c"))];
    let parts = [
        (Kind::Twin, &values[..], number("/version")),
        (Kind::Reported, &device[..], number(&format!("{reported}/$version"))),
    ];
    for (kind, values, version) in parts {
        let count = ledger.count(kind, DEVICE);
        let value = values[0];
        if values.iter().any(|it| *it != value) {
            return Err(format!("{kind:?} is partly written: {values:?}"));
        }
        if value != count.acknowledged && value != count.sent {
            return Err(format!("{kind:?} is {value} after {count:?}"));
        }
        if version < count.version {
            return Err(format!("{kind:?}: version {version} after {}", count.version));
        }
        ledger.settle(kind, DEVICE, value);
    }
    Ok(())
}
