//! Everything that is on disk, at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::file::{ROWS, TELEMETRY};
use super::form::{Keys, unframed};
use super::{rows, telemetry};
use crate::hub::{Telemetry, TelemetryLog};
use crate::store::{Ack, Post, State, Table};

/// A message to a device without its body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PostHead {
    topic: String,
    message_id: String,
    ack: Option<Ack>,
    input: Option<String>,
}

impl PostHead {
    pub(super) fn of(post: &Post) -> Self {
        let Post { topic, body: _, message_id, ack, input } = post;
        Self { topic: topic.clone(), message_id: message_id.clone(), ack: *ack, input: input.clone() }
    }

    fn with(self, body: &[u8]) -> Post {
        let Self { topic, message_id, ack, input } = self;
        Post { topic, body: Bytes::copy_from_slice(body), message_id, ack, input }
    }
}

/// Reads the file into a state and logs that are empty. What belongs to hubs that this emulator does
/// not have stays in the file. The error says what cannot be read.
pub(super) fn load(
    database: &Database,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<(), String> {
    let told = |error: redb::Error| error.to_string();
    let mut loader = Loader { state, next: BTreeMap::new(), foreign: BTreeSet::new() };
    let reading = database.begin_read().map_err(|it| told(it.into()))?;
    let table = reading.open_table(ROWS).map_err(|it| told(it.into()))?;
    for row in table.iter().map_err(|it| told(it.into()))? {
        let (key, value) = row.map_err(|it| told(it.into()))?;
        let (key, value) = (key.value(), value.value());
        // Not what is wrong in it: the text may hold keys.
        loader.row(key, value).ok_or_else(|| format!("its row `{}` is damaged", key.replace('\0', " ")))?;
    }
    loader.check_queues()?;
    let Loader { next, foreign, state } = loader;
    state.operations.sort();
    for (hub, log) in logs {
        for part in messages(database, hub)? {
            part.into_iter().for_each(|it| log.restore(it));
        }
        log.go_on_at(next.get(hub).copied().unwrap_or_default());
    }
    for hub in foreign {
        tracing::warn!(hub, "the state has devices of a hub that is not configured; they wait for it in the file");
    }
    Ok(())
}

/// The telemetry of a hub in its order. Read by several threads: there may be a hundred thousand.
fn messages(database: &Database, hub: &str) -> Result<Vec<Vec<Telemetry>>, String> {
    let told = |error: redb::Error| error.to_string();
    let (first, end) = {
        let reading = database.begin_read().map_err(|it| told(it.into()))?;
        let table = reading.open_table(TELEMETRY).map_err(|it| told(it.into()))?;
        let mut rows = table.range((hub, 0)..=(hub, u64::MAX)).map_err(|it| told(it.into()))?;
        let offset = |row: (redb::AccessGuard<'_, (&str, u64)>, _)| row.0.value().1;
        let Some(first) = rows.next().transpose().map_err(|it| told(it.into()))?.map(offset) else {
            return Ok(Vec::new());
        };
        (first, rows.next_back().transpose().map_err(|it| told(it.into()))?.map_or(first, offset) + 1)
    };
    let read = |from: u64, to: u64| {
        let reading = database.begin_read().map_err(|it| told(it.into()))?;
        let table = reading.open_table(TELEMETRY).map_err(|it| told(it.into()))?;
        let (mut reader, mut read) = (telemetry::Reader::default(), Vec::new());
        let mut next = from;
        for row in table.range((hub, from)..(hub, to)).map_err(|it| told(it.into()))? {
            let (key, value) = row.map_err(|it| told(it.into()))?;
            let message = reader.read(next, value.value()).filter(|_| key.value().1 == next);
            read.push(message.ok_or_else(|| format!("its telemetry of `{hub}` at {next} is damaged"))?);
            next += 1;
        }
        if next == to { Ok(read) } else { Err(format!("its telemetry of `{hub}` at {next} is missing")) }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).clamp(1, 4) as u64;
    let step = ((end - first) / threads + 1).max(A_PART);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (first..end)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .map(|from| scope.spawn(move || read(from, (from + step).min(end))))
            .collect();
        let joined = parts.into_iter().map(|it| it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    })
}

/// Messages that are worth a thread.
const A_PART: u64 = 2_000;

struct Loader<'a> {
    state: &'a mut State,
    /// With which offset telemetry goes on at least.
    next: BTreeMap<String, u64>,
    /// Hubs that are not configured.
    foreign: BTreeSet<String>,
}

impl Loader<'_> {
    fn row(&mut self, key: &str, value: &[u8]) -> Option<()> {
        let (place, rest) = key.split_once('\0')?;
        let state = &mut *self.state;
        match place {
            rows::ENROLLMENT => put(&mut state.individuals, rest, value),
            rows::GROUP => put(&mut state.groups, rest, value),
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
            self.foreign.insert(host.to_owned());
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

    /// Every message that waits has been found.
    fn check_queues(&self) -> Result<(), String> {
        for (host, hub) in &self.state.hubs {
            if let Some((id, _)) = hub.devices.iter().find(|(_, device)| !device.queue.is_whole()) {
                return Err(format!("a message to `{id}` of `{host}` is missing"));
            }
        }
        Ok(())
    }
}

fn put<V: DeserializeOwned>(table: &mut Table<V>, id: &str, value: &[u8]) -> Option<()> {
    table.insert(id.to_owned(), serde_json::from_slice(value).ok()?);
    Some(())
}
