//! Converts changes to rows of the file. Also defines the keys of rows.
//!
//! A key begins with a word for the kind of row: `enrollment`, `group`, `authority` (a CA certificate),
//! `credential-policy`, `record`, `operation`, `device`, `policy`, `post` (a message to a device), `feedback`, or
//! `next` (the next telemetry offset after a reset).
//!
//! NUL separates the parts of a key, because names cannot contain NUL.

use serde::Serialize;

use super::Write;
use super::form::{Keys, framed, json};
use super::post_head::PostHead;
use crate::state::model::Touch;
use crate::state::model::{Device, State, Table};

pub(super) const ENROLLMENT: &str = "enrollment";
pub(super) const GROUP: &str = "group";
pub(super) const AUTHORITY: &str = "authority";
pub(super) const CREDENTIAL_POLICY: &str = "credential-policy";
pub(super) const RECORD: &str = "record";
pub(super) const OPERATION: &str = "operation";
pub(super) const DEVICE: &str = "device";
pub(super) const POLICY: &str = "policy";
pub(super) const POST: &str = "post";
pub(super) const FEEDBACK: &str = "feedback";
pub(super) const NEXT: &str = "next";

/// Starts to record changes.
pub(super) fn track(state: &mut State) {
    let State { individuals, groups, authorities, credential_policies, records, operations, hubs, policies, live: _ } =
        state;
    individuals.track();
    groups.track();
    authorities.track();
    credential_policies.track();
    records.track();
    operations.table_mut().track();
    policies.track();
    for hub in hubs.values_mut() {
        hub.devices.track();
        hub.feedback.table_mut().track();
    }
}

/// Returns the changes since the last call.
pub(super) fn drain(state: &mut State) -> Vec<Write> {
    let State { individuals, groups, authorities, credential_policies, records, operations, hubs, policies, live: _ } =
        state;
    let mut writes = Vec::new();
    table(&mut writes, ENROLLMENT, individuals);
    table(&mut writes, GROUP, groups);
    table(&mut writes, AUTHORITY, authorities);
    table(&mut writes, CREDENTIAL_POLICY, credential_policies);
    table(&mut writes, RECORD, records);
    table(&mut writes, OPERATION, operations.table_mut());
    for (id, _) in policies.drain_touched() {
        let key = key(&[POLICY, &id]);
        writes.push(match policies.get(&id) {
            Some(keys) => Write::Put(key, json(&Keys(keys.clone()))),
            None => Write::Delete(key),
        });
    }
    for (host, hub) in hubs {
        devices(&mut writes, host, &mut hub.devices);
        if hub.feedback.table_mut().is_touched() {
            table(&mut writes, &key(&[FEEDBACK, host]), hub.feedback.table_mut());
        }
    }
    writes
}

fn table<V: Serialize>(writes: &mut Vec<Write>, place: &str, table: &mut Table<V>) {
    for (id, _) in table.drain_touched() {
        let key = key(&[place, &id]);
        writes.push(match table.get(&id) {
            Some(value) => Write::Put(key, json(value)),
            None => Write::Delete(key),
        });
    }
}

/// Writes devices. Writes each message of a device as a separate row, because a message never changes and may be large.
fn devices(writes: &mut Vec<Write>, host: &str, devices: &mut Table<Device>) {
    for (client_id, touch) in devices.drain_touched() {
        let replaced = touch == Touch::Replaced;
        let post = |sequence: u64| key(&[POST, host, &client_id, &format!("{sequence:016x}")]);
        if replaced {
            writes.push(Write::DeleteBelow(below(&[POST, host, &client_id])));
        }
        let key = key(&[DEVICE, host, &client_id]);
        let Some(device) = devices.untouched_mut(&client_id) else {
            writes.push(Write::Delete(key));
            continue;
        };
        let removed = device.queue.drain_to_delete();
        writes.extend(removed.into_iter().filter(|_| !replaced).map(|it| Write::Delete(post(it))));
        for (sequence, message) in device.queue.keep(replaced) {
            writes.push(Write::Put(post(sequence), framed(&PostHead::of(message), &message.body)));
        }
        writes.push(Write::Put(key, json(device)));
    }
}

/// The key of a row.
pub(super) fn key(parts: &[&str]) -> String {
    parts.join("\0")
}

/// The key prefix of all rows below this one.
pub(super) fn below(parts: &[&str]) -> String {
    format!("{}\0", parts.join("\0"))
}

/// Returns the end of the range of keys with this prefix. This is the first key that comes after all keys with the
/// prefix. The prefix must end with NUL.
pub(super) fn after(prefix: &str) -> String {
    format!("{}\u{1}", &prefix[..prefix.len() - 1])
}

/// Whether a reset keeps this row.
pub(super) fn outlives_reset(key: &str) -> bool {
    key.starts_with(&below(&[POLICY]))
}
