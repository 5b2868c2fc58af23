//! Finds the affected rows of a damaged file. The error message names these rows.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use super::guard::guarded;
use super::quietly::quietly;
use super::rows;
use super::sums::{Sum, Sums, kind, unsealed, unsealed_message};
use super::tables::{ROWS, TELEMETRY, open_held, read_sums};

/// Nothing in the file is readable.
const NOTHING: &str = "nothing in it can be read";

/// The error text if the affected rows cannot be found, because the file has no row checksums or its format number is
/// damaged.
pub(super) const UNKNOWN: &str = "some of its pages have changed, and it is unknown which rows are affected";

/// The error text if only pages without rows are damaged. Such pages contain the list of free pages and the index of
/// the tables.
pub(super) const STRUCTURE: &str = "pages that contain no rows have changed";

/// Maximum number of damaged rows that the message names.
const NAMES: usize = 3;

/// Describes which rows of a damaged file cannot be read or are out of date. Does not change the file.
pub(super) fn survey(path: &Path) -> String {
    let mut sums = None;
    if !opened(path, &mut |database| sums = read_sums(database).ok().flatten()) {
        return NOTHING.to_owned();
    }
    let mut found = Found::default();
    // Reading stops at damage. The first round therefore finds the rows before the damage. The second round reads
    // backwards from the end of the table, and finds the rows after the damage.
    //
    // Each call opens the database again, because a database that has panicked may panic again.
    for _ in 0..2 {
        opened(path, &mut |database| found.read_rows(database).unwrap_or_default());
        opened(path, &mut |database| found.read_telemetry(database).unwrap_or_default());
    }
    let Some(sums) = sums else { return found.without_sums() };
    let affected = found.compared_with(&sums);
    if affected.is_empty() { STRUCTURE.to_owned() } else { affected.join("; ") }
}

/// Opens the file and calls `read`. All writes of redb are held back in memory, so the file does not change. Returns
/// false if the file cannot be opened or if redb panics.
fn opened(path: &Path, read: &mut dyn FnMut(&Database)) -> bool {
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return false };
    let open = || open_held(FileBackend::new(file)?);
    let Ok(Ok((database, storage))) = quietly(open) else { return false };
    let Ok(((), database)) = guarded(database, &storage, |database| read(database)) else { return false };
    quietly(|| drop(database)).is_ok()
}

/// The rows that can be read. In each table, these are the rows before the damage and the rows after the damage.
#[derive(Debug, Default)]
struct Found {
    /// By kind of row.
    rows: BTreeMap<String, Part>,
    /// By hub.
    telemetry: BTreeMap<String, Part>,
    rows_read: Progress<String>,
    telemetry_read: Progress<(String, u64)>,
}

/// How far the rows of a table have been read.
#[derive(Debug, Default)]
struct Progress<K> {
    is_begun: bool,
    is_complete: bool,
    /// The last key that was read.
    last: Option<K>,
}

/// The rows of one kind or one hub.
#[derive(Debug, Default)]
struct Part {
    whole: Sum,
    damaged: u64,
    /// The names of some damaged rows.
    names: Vec<String>,
}

impl Part {
    fn add(&mut self, checksum: Option<u32>, name: impl FnOnce() -> Option<String>) {
        match checksum {
            Some(checksum) => self.whole.add(checksum),
            None => {
                self.damaged += 1;
                if self.names.len() < NAMES {
                    self.names.extend(name());
                }
            }
        }
    }
}

impl Found {
    fn read_rows(&mut self, database: &Database) -> Result<(), redb::Error> {
        let Self { rows, rows_read: read, .. } = self;
        let reading = database.begin_read()?;
        let table = reading.open_table(ROWS)?;
        let mut see = |key: &str, stored: &[u8]| {
            let checksum = unsealed(key, stored).map(|it| it.1);
            rows.entry(kind(key).to_owned()).or_default().add(checksum, || name(key));
        };
        if !std::mem::replace(&mut read.is_begun, true) {
            for row in table.iter()? {
                let (key, stored) = row?;
                see(key.value(), stored.value());
                read.last = Some(key.value().to_owned());
            }
            read.is_complete = true;
        } else if !read.is_complete {
            for row in table.iter()?.rev() {
                let (key, stored) = row?;
                if read.last.as_deref().is_some_and(|it| key.value() <= it) {
                    break;
                }
                see(key.value(), stored.value());
            }
        }
        Ok(())
    }

    fn read_telemetry(&mut self, database: &Database) -> Result<(), redb::Error> {
        let Self { telemetry, telemetry_read: read, .. } = self;
        let reading = database.begin_read()?;
        let table = reading.open_table(TELEMETRY)?;
        let mut see = |(hub, offset): (&str, u64), stored: &[u8]| {
            let checksum = unsealed_message(hub, offset, stored).map(|it| it.1);
            telemetry.entry(hub.to_owned()).or_default().add(checksum, || Some(format!("offset {offset}")));
        };
        if !std::mem::replace(&mut read.is_begun, true) {
            for row in table.iter()? {
                let (key, stored) = row?;
                see(key.value(), stored.value());
                read.last = Some((key.value().0.to_owned(), key.value().1));
            }
            read.is_complete = true;
        } else if !read.is_complete {
            for row in table.iter()?.rev() {
                let (key, stored) = row?;
                let is_known = |(hub, offset): &(String, u64)| key.value() <= (hub.as_str(), *offset);
                if read.last.as_ref().is_some_and(is_known) {
                    break;
                }
                see(key.value(), stored.value());
            }
        }
        Ok(())
    }

    /// Compares the rows with the sums.
    ///
    /// The result quotes only text that cannot be a secret: ids that look valid, and the kinds of rows and the names of
    /// hubs in `sums`. The checksum of `sums` is correct, so its text is not damaged.
    ///
    /// Other text may come from a damaged page, and may contain a secret key.
    fn compared_with(&self, sums: &Sums) -> Vec<String> {
        let none = Part::default();
        let rows = sums.rows.iter().map(|(kind, sum)| (label(kind), sum, self.rows.get(kind).unwrap_or(&none)));
        let of_hub = |hub: &str| format!("messages in the telemetry of hub `{hub}`");
        let telemetry = sums.telemetry.iter();
        let telemetry = telemetry.map(|(hub, sum)| (of_hub(hub), sum, self.telemetry.get(hub).unwrap_or(&none)));
        let differing = rows.chain(telemetry).filter(|(_, sum, part)| **sum != part.whole);
        differing
            .map(|(label, sum, part)| {
                let names = if part.names.is_empty() {
                    String::new()
                } else {
                    let more = if part.damaged > part.names.len() as u64 { ", …" } else { "" };
                    format!(" ({}{more})", part.names.join(", "))
                };
                match sum.count.saturating_sub(part.whole.count) {
                    0 => format!("some of {} {label} are out of date", sum.count),
                    missing => format!("{missing} of {} {label} cannot be read{names}", sum.count),
                }
            })
            .collect()
    }

    /// Describes the damage if the sums are not readable.
    fn without_sums(&self) -> String {
        let parts = || self.rows.values().chain(self.telemetry.values());
        let damaged: u64 = parts().map(|it| it.damaged).sum();
        let whole: u64 = parts().map(|it| it.whole.count).sum();
        let is_complete = self.rows_read.is_complete && self.telemetry_read.is_complete;
        match damaged {
            0 if is_complete => {
                format!("its checksum list is unreadable, so it is unknown whether its {whole} rows are complete")
            }
            _ if is_complete => {
                format!("its checksum list and {damaged} of {} rows are unreadable", damaged + whole)
            }
            _ => format!("its checksum list is unreadable, and only {whole} of its rows are readable"),
        }
    }
}

/// The name of a kind of row in error messages.
fn label(kind: &str) -> String {
    let (place, hub) = kind.split_once('\0').unwrap_or((kind, ""));
    match place {
        rows::ENROLLMENT => "individual enrollments".to_owned(),
        rows::GROUP => "enrollment groups".to_owned(),
        rows::AUTHORITY => "CA certificates".to_owned(),
        rows::CREDENTIAL_POLICY => "credential policies".to_owned(),
        rows::RECORD => "registration records".to_owned(),
        rows::OPERATION => "registrations in progress".to_owned(),
        rows::POLICY => "policy keys".to_owned(),
        rows::NEXT => "telemetry offsets".to_owned(),
        rows::DEVICE => format!("devices and modules of hub `{hub}`"),
        rows::POST => format!("messages to devices of hub `{hub}`"),
        rows::FEEDBACK => format!("feedback records of hub `{hub}`"),
        other => format!("rows `{other}`"),
    }
}

/// Returns the id in the key of a row. Returns `None` if the key contains no valid id.
///
/// In a damaged page, the bytes of a value may directly follow the id. Even then, this function returns no secret. A
/// value begins with a checksum of four bytes. The next byte is one of three:
///
/// * A bracket makes the id invalid.
/// * NUL ends the id.
/// * A digit begins a telemetry offset, which is not secret.
fn name(key: &str) -> Option<String> {
    let mut parts = key.split('\0');
    let name = match parts.next()? {
        rows::DEVICE | rows::POST => parts.nth(1)?,
        rows::FEEDBACK => return None,
        _ => parts.next()?,
    };
    let is_id = |it: char| it.is_ascii_alphanumeric() || "-._:/".contains(it);
    (name.len() <= 128 && name.chars().all(is_id)).then(|| format!("`{name}`"))
}
