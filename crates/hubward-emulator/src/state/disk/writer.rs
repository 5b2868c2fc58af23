//! The writer thread: repeatedly writes all queued changes in one transaction.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};

use redb::{Database, ReadableDatabase as _, ReadableTable as _};
use tokio::sync::watch;

use super::guard::abandon;
use super::held::Storage;
use super::load_error::is_damage;
use super::mark::Mark;
use super::quietly::{Panicked, quietly};
use super::sums::{Sums, sealed, sealed_message, value_of};
use super::tables::{ROWS, TELEMETRY, write_sums};
use super::{Disk, End, Write, WriteQueue, damage, rows};

/// The reason of a failure after a panic.
const CRASHED: &str = "its writer has crashed";

/// The file and its expected contents.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) database: Database,
    /// The storage below the database.
    pub(super) storage: Storage,
    /// The expected contents.
    pub(super) sums: Sums,
    pub(super) mark: Option<Mark>,
    /// Whether the pages without rows are known to be intact.
    pub(super) is_checked: bool,
    /// Whether redb has panicked. If it has, the database must not be dropped, because the drop could panic again.
    pub(super) has_panicked: bool,
}

/// Starts the writer thread. The thread ends after [`Disk::close`], or when a write fails.
pub(super) fn spawn(written: Written, disk: &Disk) -> io::Result<()> {
    let queue = Arc::clone(&disk.queue);
    std::thread::Builder::new().name("hubward-state".to_owned()).spawn(move || {
        // `Ending` reports the end of the thread, even after a panic. Without this report, tasks could wait forever.
        let end = Ending { queue: &queue, end: End::Failed(CRASHED.into()) };
        run(&queue, written, end);
    })?;
    Ok(())
}

/// Reports how the thread ended, even after a panic.
struct Ending<'a> {
    queue: &'a WriteQueue,
    end: End,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let end = self.end.clone();
        if let End::Failed(why) = &end {
            let path = self.queue.path.display();
            tracing::error!(%path, why = &**why, "the state cannot be written; the emulator acknowledges nothing more");
        }
        self.queue.progress.send_modify(|it| it.end = Some(end));
        // Drop the queued changes, because no thread writes them any more.
        let mut pending = self.queue.pending();
        (pending.writes, pending.size) = (Vec::new(), 0);
    }
}

fn run(queue: &WriteQueue, mut written: Written, mut ending: Ending<'_>) {
    loop {
        let (writes, issued, closing) = take(queue);
        match quietly(|| written.write(&writes)).unwrap_or_else(|Panicked| written.crashed()) {
            Ok(seen) => {
                for (total, to) in seen {
                    total.send_replace(to);
                }
                queue.progress.send_modify(|it| it.written = issued);
            }
            Err(why) => {
                // Close the file before `Ending` reports the failure.
                written.close_after_failure();
                ending.end = End::Failed(why.into());
                return;
            }
        }
        if closing {
            // Close the file before `Ending` reports the end.
            drop(written);
            ending.end = End::Closed;
            return;
        }
    }
}

/// Waits for changes and takes all changes from the queue. Returns the writes, the number of the last change, and
/// whether the thread must close the file.
fn take(queue: &WriteQueue) -> (Vec<Write>, u64, bool) {
    let mut pending = queue.pending();
    while pending.writes.is_empty() && !pending.closing && pending.issued == queue.progress.borrow().written {
        pending = queue.more.wait(pending).unwrap_or_else(PoisonError::into_inner);
    }
    pending.size = 0;
    (std::mem::take(&mut pending.writes), pending.issued, pending.closing)
}

impl Written {
    /// Writes all changes or none. For each written telemetry message, returns the channel to the readers of its log,
    /// and the new total to send through this channel.
    fn write(&mut self, writes: &[Write]) -> Result<Vec<(watch::Sender<u64>, u64)>, String> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_checked {
            if !changes(&self.database, writes).map_err(|error| error.to_string())? {
                return Ok(Vec::new());
            }
            self.check()?;
        }
        let mut sums = self.sums.clone();
        let (seen, is_changed) = write(&self.database, writes, &mut sums).map_err(|error| error.to_string())?;
        if is_changed {
            self.sums = sums;
            if let Some(mark) = &mut self.mark {
                mark.note(self.sums.file, self.sums.commit);
            }
        }
        Ok(seen)
    }

    /// Compares every page with its checksum. The thread calls this function before its first write. When the emulator
    /// started, it checked only the rows, and not the other contents of the pages.
    ///
    /// The list of free pages is such other content. If this list is damaged, it may contain a page with rows, and redb
    /// could overwrite these rows.
    fn check(&mut self) -> Result<(), String> {
        let told = |error: io::Error| error.to_string();
        self.storage.hold().map_err(told)?;
        match quietly(|| self.database.check_integrity()) {
            Ok(Ok(_)) => {
                self.storage.release().map_err(told)?;
                self.is_checked = true;
                Ok(())
            }
            Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))) if !is_damage(&error) => {
                Err(error.to_string())
            }
            // Writes stay held back, including those when the database closes.
            other => {
                self.has_panicked = other.is_err();
                Err(format!(
                    "it is damaged: {}; every row can still be read: save them with `hubward emulator export`, move \
                     the file away and import them",
                    damage::STRUCTURE
                ))
            }
        }
    }

    /// The failure after a panic of redb.
    fn crashed<T>(&mut self) -> Result<T, String> {
        self.has_panicked = true;
        Err(CRASHED.to_owned())
    }

    fn close_after_failure(self) {
        if self.has_panicked {
            abandon(self.database, &self.storage);
        } else {
            // Closing a damaged file may panic, too.
            let _ = quietly(|| drop(self));
        }
    }
}

/// Whether these writes would change anything.
fn changes(database: &Database, writes: &[Write]) -> Result<bool, redb::Error> {
    let reading = database.begin_read()?;
    let (rows, telemetry) = (reading.open_table(ROWS)?, reading.open_table(TELEMETRY)?);
    for write in writes {
        let changes = match write {
            Write::Put(key, value) => rows.get(key.as_str())?.is_none_or(|it| value_of(it.value()) != value.as_slice()),
            Write::Delete(key) => rows.get(key.as_str())?.is_some(),
            Write::DeleteBelow(prefix) => {
                rows.range(prefix.as_str()..rows::after(prefix).as_str())?.next().transpose()?.is_some()
            }
            Write::TelemetryBefore { hub, offset } => {
                telemetry.range((&**hub, 0)..(&**hub, *offset))?.next().transpose()?.is_some()
            }
            Write::Telemetry { .. } | Write::Clear => true,
        };
        if changes {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The new telemetry totals with their channels (see [`Written::write`]), and whether the writes changed anything.
type Outcome = (Vec<(watch::Sender<u64>, u64)>, bool);

fn write(database: &Database, writes: &[Write], sums: &mut Sums) -> Result<Outcome, redb::Error> {
    let mut seen = Vec::new();
    let mut writing = database.begin_write()?;
    // With this option, an emulator that was killed starts again quickly, even with a large file.
    writing.set_quick_repair(true);
    let mut is_changed = false;
    // Offsets only grow, so the last offset of a hub is its largest offset.
    let mut kept_from = BTreeMap::new();
    {
        let mut rows = writing.open_table(ROWS)?;
        let mut telemetry = writing.open_table(TELEMETRY)?;
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    // A row that has not changed may be in the queue, because the table marks a row as changed whenever
                    // code borrows it mutably. Do not write such a row.
                    let same = rows.get(key.as_str())?.is_some_and(|it| value_of(it.value()) == value.as_slice());
                    if !same {
                        let stored = sealed(key, value);
                        let before = rows.insert(key.as_str(), stored.as_slice())?;
                        sums.row(key, before.as_ref().map(|it| it.value()), Some(&stored));
                        is_changed = true;
                    }
                }
                Write::Delete(key) => {
                    if let Some(before) = rows.remove(key.as_str())? {
                        sums.row(key, Some(before.value()), None);
                        is_changed = true;
                    }
                }
                Write::DeleteBelow(prefix) => {
                    let end = rows::after(prefix);
                    for gone in rows.extract_from_if(prefix.as_str()..end.as_str(), |_, _| true)? {
                        let (key, before) = gone?;
                        sums.row(key.value(), Some(before.value()), None);
                        is_changed = true;
                    }
                }
                Write::Telemetry { hub, offset, value, total } => {
                    let stored = sealed_message(hub, *offset, value);
                    let before = telemetry.insert((&**hub, *offset), stored.as_slice())?;
                    sums.message(hub, before.as_ref().map(|it| it.value()), Some(&stored));
                    seen.push((total.clone(), offset + 1));
                    is_changed = true;
                }
                Write::TelemetryBefore { hub, offset } => {
                    kept_from.insert(hub, *offset);
                }
                Write::Clear => {
                    rows.retain(|key, _| rows::outlives_reset(key))?;
                    sums.rows.retain(|kind, _| rows::outlives_reset(&rows::below(&[kind])));
                    telemetry.retain(|_, _| false)?;
                    sums.telemetry.clear();
                    is_changed = true;
                }
            }
        }
        for (hub, offset) in kept_from {
            for gone in telemetry.extract_from_if((&**hub, 0)..(&**hub, offset), |_, _| true)? {
                let (_, before) = gone?;
                sums.message(hub, Some(before.value()), None);
                is_changed = true;
            }
        }
    }
    if is_changed {
        sums.commit += 1;
        write_sums(&writing, sums)?;
        writing.commit()?;
    } else {
        writing.abort()?;
    }
    Ok((seen, is_changed))
}
