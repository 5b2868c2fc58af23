//! The file: made for its owner only, of a known format, open in one emulator at a time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, StorageBackend, StorageError, TableDefinition, TableError,
    WriteTransaction,
};

use super::held::Storage;
use super::load::{Trouble, is_damage};
use super::mark::Mark;
use super::quietly::quietly;
use super::sums::Sums;
use super::{Disk, DiskLog, StateError, damage, load, migrate, rows, writer};
use crate::hub::TelemetryLog;
use crate::new_file;
use crate::store::State;

/// Opens the file of a data directory, makes it if there is none, and reads everything into a state
/// and logs that are empty; changes of them are written from then on.
pub(crate) fn open(
    directory: &Path,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<Disk, StateError> {
    let path = directory.join(NAME);
    if !path.exists() {
        make(&path)?;
    }
    let file = open_private(&path).map_err(|source| StateError::File { path: path.clone(), source })?;
    start(FileBackend::new(file), path, Some(Mark::read(directory)), state, logs)
}

/// Makes a file without state. A half-made one could not be opened ever again.
fn make(path: &Path) -> Result<(), StateError> {
    let made = new_file::create(path, |file| {
        let database = FileBackend::new(file).and_then(|it| Builder::new().create_with_backend(it));
        let database = database.map_err(|it| io::Error::other(it.to_string()))?;
        write_new(&database).map_err(|it| io::Error::other(it.to_string()))
    });
    match made {
        // Another emulator was faster.
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(StateError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Goes on with a file that is open. `mark` is `None` for storage without a directory.
pub(super) fn start(
    storage: Result<impl StorageBackend, DatabaseError>,
    path: PathBuf,
    mut mark: Option<Mark>,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<Disk, StateError> {
    // The one place where redb reads pages that may be damaged; a panic is one more way to say so.
    let read = quietly(|| read(storage?, mark.as_ref(), state, logs)).unwrap_or(Err(Trouble::Damaged));
    let (database, storage, sums) = read.map_err(|trouble| refused(&path, mark.as_ref(), trouble))?;
    if let Some(mark) = &mut mark {
        mark.note(sums.file, sums.commit);
    }
    rows::track(state);
    let disk = Disk::new(path.clone());
    let written = writer::Written { database, storage, sums, mark, is_checked: false };
    writer::spawn(written, &disk).map_err(|source| StateError::File { path, source })?;
    for (hub, log) in logs {
        log.write_to(DiskLog::new(disk.clone(), hub));
    }
    Ok(disk)
}

/// Reads everything, and only then lets redb write to the file.
fn read(
    file: impl StorageBackend,
    mark: Option<&Mark>,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<(Database, Storage, Sums), Trouble> {
    let (mut database, storage) = open_held(file)?;
    let format = read_about(&database, FORMAT_KEY)?.ok_or(Trouble::Damaged)?;
    let format = format.parse::<u32>().unwrap_or_default();
    if format != FORMAT {
        // Nothing else tells a damaged number from another one, or knows an old file to be whole.
        let is_whole = database.check_integrity().is_ok();
        match format {
            _ if !is_whole => return Err(Trouble::DamagedBefore),
            migrate::FORMAT => {
                storage.release().map_err(Trouble::Io)?;
                migrate::migrate(&database)?;
            }
            newer if newer > FORMAT => return Err(Trouble::Newer(newer)),
            _ => return Err(Trouble::Unknown("its format is unknown".to_owned())),
        }
    }
    let sums = read_sums(&database)?.ok_or(Trouble::Damaged)?;
    if let Some(acknowledged) = mark.and_then(|it| it.acknowledged(sums.file)).filter(|it| *it > sums.commit) {
        return Err(Trouble::Older { found: sums.commit, acknowledged });
    }
    load::load(&database, &sums, state, logs)?;
    storage.release().map_err(Trouble::Io)?;
    Ok((database, storage, sums))
}

/// Opens a database that holds something, with writes held back.
pub(super) fn open_held(file: impl StorageBackend) -> Result<(Database, Storage), Trouble> {
    let storage = Storage::held(file).map_err(Trouble::Io)?;
    // In an empty file redb would begin a new database, and whoever emptied it was no emulator.
    if storage.len().map_err(Trouble::Io)? == 0 {
        return Err(Trouble::Damaged);
    }
    let database = Builder::new().set_cache_size(CACHE).create_with_backend(storage.clone())?;
    Ok((database, storage))
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::Storage(StorageError::Io(source)) if !is_damage(&source) => Self::Io(source),
            _ => Self::Damaged,
        }
    }
}

fn refused(path: &Path, mark: Option<&Mark>, trouble: Trouble) -> StateError {
    let path = path.to_owned();
    match trouble {
        Trouble::InUse => StateError::InUse { path },
        Trouble::Newer(found) => StateError::Newer { path, found },
        Trouble::Damaged => StateError::Damaged { affected: damage::survey(&path), path },
        Trouble::DamagedBefore => StateError::Damaged { affected: damage::UNKNOWN.to_owned(), path },
        Trouble::Older { found, acknowledged } => {
            let mark = mark.map(|it| it.path().to_owned()).unwrap_or_default();
            StateError::Older { path, mark, found, acknowledged }
        }
        Trouble::Unknown(what) => StateError::Unreadable { path, what },
        Trouble::Io(source) => StateError::File { path, source },
    }
}

/// The file holds keys, so it is made for its owner only.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let file = options.open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "other users can read the keys in the emulator's state");
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// What the file says of itself.
fn read_about(database: &Database, key: &str) -> Result<Option<String>, redb::Error> {
    let reading = database.begin_read()?;
    let about = match reading.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(about.get(key)?.map(|it| it.value().to_owned()))
}

/// What the file should hold; `None` if that is damaged.
pub(super) fn read_sums(database: &Database) -> Result<Option<Sums>, redb::Error> {
    Ok(read_about(database, SUMS_KEY)?.and_then(|it| Sums::from_text(&it)))
}

/// Writes the sums, as a part of a commit.
pub(super) fn write_sums(writing: &WriteTransaction, sums: &Sums) -> Result<(), redb::Error> {
    writing.open_table(ABOUT)?.insert(SUMS_KEY, sums.to_text().as_str())?;
    Ok(())
}

/// Says that a file has the present format, as a part of a commit.
pub(super) fn write_format(writing: &WriteTransaction) -> Result<(), redb::Error> {
    writing.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT.to_string().as_str())?;
    Ok(())
}

/// Makes a database that holds nothing.
pub(super) fn write_new(database: &Database) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    write_format(&writing)?;
    write_sums(&writing, &Sums::new())?;
    // Made here, so that readers find them.
    writing.open_table(ROWS)?;
    writing.open_table(TELEMETRY)?;
    writing.commit()?;
    Ok(())
}

/// Its name in the data directory.
const NAME: &str = "state.redb";

/// What a row's value means. Members may be added to rows as long as they may be missing; anything
/// else needs the next number, and a way to read the older one.
pub(super) const FORMAT: u32 = 2;

/// What is known of the file itself.
pub(super) const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
pub(super) const FORMAT_KEY: &str = "format";
const SUMS_KEY: &str = "sums";

/// Everything but telemetry, by the keys of `rows`; values with their checksums, as in `sums`.
pub(super) const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("checked-rows");

/// By hub, in lower case, and offset; values with their checksums.
pub(super) const TELEMETRY: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("checked-telemetry");

/// All of the state is in memory anyway.
const CACHE: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(directory: &Path) -> Result<Disk, StateError> {
        open(directory, &mut State::default(), &BTreeMap::new())
    }

    fn refusal(directory: &Path) -> StateError {
        opened(directory).expect_err("it cannot be used")
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        let disk = opened(folder.path()).expect("a new one");
        let error = refusal(folder.path());
        assert!(matches!(&error, StateError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("state.redb is in use by another emulator"), "{error}");
        disk.close();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(disk.closed());

        let database = Database::open(&path).expect("it is closed");
        let writing = database.begin_write().expect("a transaction");
        writing.open_table(ABOUT).expect("a table").insert(FORMAT_KEY, "3").expect("written");
        writing.commit().expect("written");
        drop(database);
        let error = refusal(folder.path());
        assert!(matches!(&error, StateError::Newer { found: 3, .. }), "{error}");
        assert!(error.to_string().contains("written by a newer hubward (format 3, this one reads up to 2)"), "{error}");

        std::fs::write(&path, "no database").expect("written");
        let error = refusal(folder.path());
        assert!(matches!(&error, StateError::Damaged { .. }), "{error:?}");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_only() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let disk = opened(folder.path()).expect("a new one");
        disk.close();
        let mode = std::fs::metadata(folder.path().join(NAME)).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
