//! What is there after a restart, compared with what was acknowledged.

use std::collections::BTreeSet;

use serde_json::Value;

use super::http::ask;
use super::ledger::{Count, Kind, Ledger};
use super::process::Process;
use super::writers::{DEVICE, MESSAGES, enrollment_after, inbox, registration_id};

/// Compares all of it; what was tried and not acknowledged may have happened or not, and is known
/// afterwards.
pub(super) async fn everything(process: &Process, ledger: &mut Ledger) -> Result<(), String> {
    let admin = process.admin();
    let get = async |path: &str| match ask(&admin, &format!("GET {path}"), "", None).await {
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
        let messages = page["messages"].as_array().ok_or_else(|| format!("no page: {page}"))?;
        for message in messages {
            let offset = message["offset"].as_u64();
            if offset != Some(from) {
                return Err(format!("the log goes on with {offset:?} instead of {from}"));
            }
            let number = message["properties"]["n"].as_str().and_then(|it| it.parse::<u64>().ok());
            let number = number.ok_or_else(|| format!("a message without its number: {message}"))?;
            if message["body"].as_str() != Some(&number.to_string()) {
                return Err(format!("body and properties do not fit: {message}"));
            }
            bodies.insert(number);
            from += 1;
        }
        if messages.is_empty() {
            break;
        }
    }
    all_of("telemetry", &bodies, ledger.count(Kind::Telemetry, DEVICE))?;
    ledger.settle(Kind::Telemetry, DEVICE, bodies.last().copied().unwrap_or_default());

    let count = ledger.count(Kind::Message, "inboxes");
    let mut waiting = BTreeSet::new();
    for number in (0..=count.tried).step_by(usize::try_from(MESSAGES).expect("small")) {
        let path = format!("/messages/localhost/{}", inbox(number));
        let (status, page) = ask(&admin, &format!("GET {path}"), "", None).await.map_err(|it| it.to_string())?;
        // The last one may not have been made.
        let messages = if status == 404 { &Vec::new() } else { page["messages"].as_array().ok_or("no messages")? };
        waiting.extend(messages.iter().filter_map(|it| it["messageId"].as_str()?.parse::<u64>().ok()));
    }
    all_of("messages to devices", &waiting, count)?;
    ledger.settle(Kind::Message, "inboxes", waiting.last().copied().unwrap_or_default());
    Ok(())
}

/// Every number that was acknowledged is there, from 1 on, and none that was never tried.
fn all_of(what: &str, found: &BTreeSet<u64>, count: Count) -> Result<(), String> {
    let Count { acknowledged, tried, .. } = count;
    if let Some(lost) = (1..=acknowledged).find(|it| !found.contains(it)) {
        return Err(format!("{what}: {lost} is lost, up to {acknowledged} was acknowledged"));
    }
    match found.last() {
        Some(more) if *more > tried => Err(format!("{what}: {more} was never tried")),
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
        let happened = [count.tried, count.acknowledged]
            .into_iter()
            .find(|it| value == enrollment_after(*it).map(|value| (Some(value), Some(value))));
        let Some(happened) = happened else {
            return Err(format!("{id} is {value:?} after {count:?}"));
        };
        ledger.settle(Kind::Enrollment, &id, happened);
    }
    Ok(())
}

/// A registered device has a record, and the hub knows it.
fn registrations(export: &Value, ledger: &Ledger) -> Result<(), String> {
    let of = |list: &str, id: &str| -> BTreeSet<String> {
        let all = export[list].as_array().into_iter().flatten();
        all.filter_map(|it| Some(it[id].as_str()?.to_owned())).collect()
    };
    let (records, devices) = (of("registrations", "registrationId"), of("devices", "deviceId"));
    for (writer, count) in ledger.of(Kind::Registration) {
        let mut happened = 0;
        for number in 1..=count.tried {
            let id = registration_id(&writer, number);
            match (records.contains(&id), devices.contains(&id)) {
                (true, true) => happened = number,
                (false, false) if number > count.acknowledged => {}
                (record, device) => return Err(format!("{id}: record {record}, device {device}, after {count:?}")),
            }
        }
        ledger.settle(Kind::Registration, &writer, happened);
    }
    Ok(())
}

/// Both values of a change are there, or neither; versions do not go backwards.
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
            return Err(format!("{kind:?} is half-written: {values:?}"));
        }
        if value != count.acknowledged && value != count.tried {
            return Err(format!("{kind:?} is {value} after {count:?}"));
        }
        if version < count.version {
            return Err(format!("{kind:?}: version {version} after {}", count.version));
        }
        ledger.settle(kind, DEVICE, value);
    }
    Ok(())
}
