//! The thread that writes: everything that waits, in one transaction, again and again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};

use redb::{Database, ReadableTable as _};
use tokio::sync::watch;

use super::file::{ROWS, TELEMETRY};
use super::{Disk, End, Line, Write, rows};

/// Starts the thread; it ends when it is told to close, or when it cannot write.
pub(super) fn spawn(database: Database, disk: &Disk) -> io::Result<()> {
    let line = Arc::clone(&disk.line);
    std::thread::Builder::new().name("hubward-state".to_owned()).spawn(move || {
        // Whatever ends the thread: nobody waits in vain.
        let end = Ending { line: &line, end: End::Failed("its writer has crashed".into()) };
        run(&line, database, end);
    })?;
    Ok(())
}

/// Says how it ended, also if it panics.
struct Ending<'a> {
    line: &'a Line,
    end: End,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let end = self.end.clone();
        if let End::Failed(why) = &end {
            let path = self.line.path.display();
            tracing::error!(%path, why = &**why, "the state cannot be written: nothing is acknowledged any more");
        }
        self.line.progress.send_modify(|it| it.end = Some(end));
        // What waits will never be written.
        let mut waiting = self.line.waiting();
        (waiting.writes, waiting.size) = (Vec::new(), 0);
    }
}

fn run(line: &Line, database: Database, mut ending: Ending<'_>) {
    loop {
        let (writes, issued, closing) = take(line);
        match write(&database, &writes) {
            Ok(seen) => {
                for (total, to) in seen {
                    total.send_replace(to);
                }
                line.progress.send_modify(|it| it.written = issued);
            }
            Err(error) => {
                ending.end = End::Failed(error.to_string().into());
                return;
            }
        }
        if closing {
            // Before anybody hears that the file is closed.
            drop(database);
            ending.end = End::Closed;
            return;
        }
    }
}

/// All that waits, waiting for something; the number of the last change; whether it is the end.
fn take(line: &Line) -> (Vec<Write>, u64, bool) {
    let mut waiting = line.waiting();
    while waiting.writes.is_empty() && !waiting.closing && waiting.issued == line.progress.borrow().written {
        waiting = line.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
    waiting.size = 0;
    (std::mem::take(&mut waiting.writes), waiting.issued, waiting.closing)
}

/// Writes all or nothing. Gives what readers of telemetry may see now.
fn write(database: &Database, writes: &[Write]) -> Result<Vec<(watch::Sender<u64>, u64)>, redb::Error> {
    let mut seen = Vec::new();
    if writes.is_empty() {
        return Ok(seen);
    }
    let mut writing = database.begin_write()?;
    // An emulator that was killed starts again at once, however large the file is.
    writing.set_quick_repair(true);
    let mut changed = false;
    // Offsets only grow, so that the last one counts.
    let mut kept_from = BTreeMap::new();
    {
        let mut rows = writing.open_table(ROWS)?;
        let mut telemetry = writing.open_table(TELEMETRY)?;
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    // A value that was borrowed has not always changed.
                    let same = rows.get(key.as_str())?.is_some_and(|it| it.value() == value.as_slice());
                    if !same {
                        rows.insert(key.as_str(), value.as_slice())?;
                        changed = true;
                    }
                }
                Write::Delete(key) => changed |= rows.remove(key.as_str())?.is_some(),
                Write::DeleteBelow(prefix) => {
                    let end = rows::after(prefix);
                    for gone in rows.extract_from_if(prefix.as_str()..end.as_str(), |_, _| true)? {
                        gone?;
                        changed = true;
                    }
                }
                Write::Telemetry { hub, offset, value, total } => {
                    telemetry.insert((&**hub, *offset), value.as_slice())?;
                    seen.push((total.clone(), offset + 1));
                    changed = true;
                }
                Write::TelemetryBefore { hub, offset } => {
                    kept_from.insert(hub, *offset);
                }
                Write::Clear => {
                    rows.retain(|key, _| rows::outlives_reset(key))?;
                    telemetry.retain(|_, _| false)?;
                    changed = true;
                }
            }
        }
        for (hub, offset) in kept_from {
            for gone in telemetry.extract_from_if((&**hub, 0)..(&**hub, offset), |_, _| true)? {
                gone?;
                changed = true;
            }
        }
    }
    if changed {
        writing.commit()?;
    } else {
        writing.abort()?;
    }
    Ok(seen)
}
