//! Loads the file at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use serde::de::DeserializeOwned;

use super::form::{Keys, unframed};
use super::load_error::LoadError;
use super::post_head::PostHead;
use super::quietly::quietly;
use super::sums::{Sum, Sums, unsealed, unsealed_message};
use super::tables::{ROWS, TELEMETRY};
use super::{rows, telemetry};
use crate::state::model::{State, Table};
use crate::state::telemetry::{Telemetry, TelemetryLog};

/// A thread reads at least this many messages.
const A_PART: u64 = 2_000;

/// Reads the file into an empty state and empty logs. Compares all rows with the checksums.
///
/// The file may contain rows of hubs that this emulator does not have. The emulator compares these rows too, and
/// leaves them in the file.
pub(super) fn load(
    database: &Database,
    sums: &Sums,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<(), LoadError> {
    let mut loader = Loader { state, next: BTreeMap::new(), unconfigured: BTreeSet::new() };
    // Do not report an unknown row at once. A row may be unknown only because another row is missing: for example, a
    // message is unknown if the row of its device is missing. In that case, report the missing row.
    let mut unknown = None;
    let mut found = Sums { file: sums.file, commit: sums.commit, ..Sums::default() };
    let reading = database.begin_read().map_err(redb::Error::from)?;
    let table = reading.open_table(ROWS).map_err(redb::Error::from)?;
    for row in table.iter().map_err(redb::Error::from)? {
        let (key, stored) = row.map_err(redb::Error::from)?;
        let (key, stored) = (key.value(), stored.value());
        let (value, _) = unsealed(key, stored).ok_or(LoadError::Damaged)?;
        found.row(key, None, Some(stored));
        // Drop the parser's error, because its text may contain keys.
        if loader.row(key, value).is_none() {
            unknown.get_or_insert_with(|| format!("its row `{}` is unknown", key.replace('\0', " ")));
        }
    }
    let unknown = unknown.or_else(|| loader.missing_message());
    let Loader { next, unconfigured, state } = loader;
    state.operations.sort();
    for hub in sums.telemetry.keys().filter(|it| !logs.contains_key(*it)) {
        let (_, sum) = messages(database, hub, false)?;
        found.telemetry.insert(hub.clone(), sum);
    }
    for (hub, log) in logs {
        let (parts, sum) = messages(database, hub, true)?;
        if sum != Sum::default() {
            found.telemetry.insert(hub.clone(), sum);
        }
        for part in parts {
            part.into_iter().for_each(|it| log.restore(it));
        }
        log.continue_at(next.get(hub).copied().unwrap_or_default());
    }
    if found != *sums {
        return Err(LoadError::Damaged);
    }
    if let Some(what) = unknown {
        return Err(LoadError::Unknown(what));
    }
    for hub in unconfigured {
        tracing::warn!(hub, "the state file has devices of a hub that is not configured; they stay in the file");
    }
    Ok(())
}

/// Reads the telemetry of a hub in the order of the offsets, with several threads, because there may be 100,000
/// messages.
///
/// Returns the messages and the sum of their checksums. If `is_wanted` is `false`, the list of messages is empty.
fn messages(database: &Database, hub: &str, is_wanted: bool) -> Result<(Vec<Vec<Telemetry>>, Sum), LoadError> {
    let (first, end) = {
        let reading = database.begin_read().map_err(redb::Error::from)?;
        let table = reading.open_table(TELEMETRY).map_err(redb::Error::from)?;
        let mut rows = table.range((hub, 0)..=(hub, u64::MAX)).map_err(redb::Error::from)?;
        let offset = |row: (redb::AccessGuard<'_, (&str, u64)>, _)| row.0.value().1;
        let Some(first) = rows.next().transpose().map_err(redb::Error::from)?.map(offset) else {
            return Ok(Default::default());
        };
        let last = rows.next_back().transpose().map_err(redb::Error::from)?.map_or(first, offset);
        (first, last.checked_add(1).filter(|it| *it > first).ok_or(LoadError::Damaged)?)
    };
    let read = |from: u64, to: u64| {
        let reading = database.begin_read().map_err(redb::Error::from)?;
        let table = reading.open_table(TELEMETRY).map_err(redb::Error::from)?;
        let (mut reader, mut read, mut sum) = (telemetry::Reader::default(), Vec::new(), Sum::default());
        let mut next = from;
        for row in table.range((hub, from)..(hub, to)).map_err(redb::Error::from)? {
            let (key, stored) = row.map_err(redb::Error::from)?;
            let (value, checksum) = unsealed_message(hub, next, stored.value()).ok_or(LoadError::Damaged)?;
            if key.value() != (hub, next) {
                return Err(LoadError::Damaged);
            }
            sum.add(checksum);
            if is_wanted {
                let message = reader.read(next, value);
                read.push(
                    message.ok_or_else(|| LoadError::Unknown(format!("its message {next} of `{hub}` is unknown")))?,
                );
            }
            next += 1;
        }
        if next == to { Ok((read, sum)) } else { Err(LoadError::Damaged) }
    };
    // Divide the offsets into at most as many parts as there are threads. A damaged offset can make the range huge, but
    // not the number of parts.
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).clamp(1, 4) as u64;
    let step = ((end - first) / threads + 1).max(A_PART);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (first..end)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .map(|from| scope.spawn(move || quietly(|| read(from, from.saturating_add(step).min(end)))))
            .collect();
        let (mut all, mut sum) = (Vec::new(), Sum::default());
        for part in parts {
            let read = part.join().map_err(|_| LoadError::Damaged)?;
            let (part, of_part) = read.map_err(|_| LoadError::Damaged)??;
            all.push(part);
            sum.merge(of_part);
        }
        Ok((all, sum))
    })
}

struct Loader<'a> {
    state: &'a mut State,
    /// For each hub, the minimum offset of the next telemetry message.
    next: BTreeMap<String, u64>,
    /// Hubs that are not configured.
    unconfigured: BTreeSet<String>,
}

impl Loader<'_> {
    fn row(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let (place, rest) = key.split_once('\0')?;
        let state = &mut *self.state;
        match place {
            rows::ENROLLMENT => put(&mut state.individuals, rest, value),
            rows::GROUP => put(&mut state.groups, rest, value),
            rows::AUTHORITY => put(&mut state.authorities, rest, value),
            rows::CREDENTIAL_POLICY => put(&mut state.credential_policies, rest, value),
            rows::RECORD => put(&mut state.records, rest, value),
            rows::POLICY => {
                let Keys(keys) = serde_json::from_slice(value).ok()?;
                state.policies.insert(rest.to_owned(), keys);
                Some(())
            }
            rows::OPERATION => {
                state.operations.restore(rest.to_owned(), serde_json::from_slice(value).ok()?);
                Some(())
            }
            rows::NEXT => {
                self.next.insert(rest.to_owned(), serde_json::from_slice(value).ok()?);
                Some(())
            }
            _ => self.of_hub(place, rest, value),
        }
    }

    fn of_hub(&mut self, place: &str, rest: &str, value: &[u8]) -> Option<()> {
        let (host, rest) = rest.split_once('\0')?;
        let Some(hub) = self.state.hubs.get_mut(host) else {
            self.unconfigured.insert(host.to_owned());
            return Some(());
        };
        match place {
            rows::DEVICE => put(&mut hub.devices, rest, value),
            rows::FEEDBACK => put(hub.feedback.table_mut(), rest, value),
            rows::POST => {
                let (client_id, sequence) = rest.split_once('\0')?;
                let sequence = u64::from_str_radix(sequence, 16).ok()?;
                let (head, body) = unframed::<PostHead>(value)?;
                let queue = &mut hub.devices.get_mut(client_id)?.queue;
                queue.restore(sequence, Arc::new(head.with(body))).then_some(())
            }
            _ => None,
        }
    }

    /// Returns an error text if a message in the queue of a device is missing in the file.
    fn missing_message(&self) -> Option<String> {
        self.state.hubs.iter().find_map(|(host, hub)| {
            let (id, _) = hub.devices.iter().find(|(_, device)| !device.queue.is_whole())?;
            Some(format!("a message to `{id}` of `{host}` is missing"))
        })
    }
}

fn put<V: DeserializeOwned>(table: &mut Table<V>, id: &str, value: &[u8]) -> Option<()> {
    table.insert(id.to_owned(), serde_json::from_slice(value).ok()?);
    Some(())
}
