//! The file: made for its owner only, of a known format, open in one emulator at a time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, TableDefinition, TableError};

use super::{Disk, DiskLog, load, rows, writer};
use crate::hub::TelemetryLog;
use crate::new_file;
use crate::store::State;

/// Why the state of a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another emulator has it open.
    #[error("{path} is in use by another emulator; end that one, or choose another data directory", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer hubward wrote it.
    #[error(
        "{path} was written by a newer hubward (format {found}, this one reads up to {FORMAT}); use that one, or another \
         data directory",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is damaged, or nothing that an emulator wrote.
    #[error("{path} cannot be read ({what}); move it away to begin anew", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, without a secret.
        what: String,
    },
    /// It cannot be opened or written.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens the file of a data directory, makes it if there is none, and reads everything into a state
/// and logs that are empty; changes of them are written from then on.
pub(crate) fn open(
    directory: &Path,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<Disk, StateError> {
    let path = directory.join(NAME);
    let at = |source| StateError::File { path: path.clone(), source };
    if !path.exists() {
        make(&path)?;
    }
    let file = open_private(&path).map_err(at)?;
    let database = database(file).map_err(|error| refused(&path, error))?;
    start(database, path, state, logs)
}

/// Makes a file without state. A half-made one could not be opened ever again.
fn make(path: &Path) -> Result<(), StateError> {
    let made = new_file::create(path, |file| {
        let database = database(file).map_err(|it| io::Error::other(it.to_string()))?;
        write_format(&database).map_err(|it| io::Error::other(it.to_string()))
    });
    match made {
        // Somebody else was faster.
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(StateError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn database(file: File) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE).create_with_backend(FileBackend::new(file)?)
}

/// Goes on with a file that is open.
pub(super) fn start(
    database: Database,
    path: PathBuf,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<Disk, StateError> {
    check_format(&database, &path)?;
    load::load(&database, state, logs).map_err(|what| StateError::Unreadable { path: path.clone(), what })?;
    rows::track(state);
    let disk = Disk::new(path.clone());
    writer::spawn(database, &disk).map_err(|source| StateError::File { path, source })?;
    for (hub, log) in logs {
        log.write_to(DiskLog::new(disk.clone(), hub));
    }
    Ok(disk)
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

fn refused(path: &Path, error: DatabaseError) -> StateError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => StateError::InUse { path },
        DatabaseError::Storage(redb::StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            StateError::File { path, source }
        }
        other => StateError::Unreadable { path, what: other.to_string() },
    }
}

/// A new file gets the present format; one of a newer format is refused before anything is read.
fn check_format(database: &Database, path: &Path) -> Result<(), StateError> {
    let unreadable = |what: String| StateError::Unreadable { path: path.to_owned(), what };
    match read_format(database).map_err(|it| unreadable(it.to_string()))? {
        Some(text) => match text.parse::<u32>() {
            Ok(FORMAT) => Ok(()),
            Ok(found) if found > FORMAT => Err(StateError::Newer { path: path.to_owned(), found }),
            _ => Err(unreadable("its format is unknown".to_owned())),
        },
        None => write_format(database).map_err(|it| unreadable(it.to_string())),
    }
}

fn read_format(database: &Database) -> Result<Option<String>, redb::Error> {
    let reading = database.begin_read()?;
    let about = match reading.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(about.get(FORMAT_KEY)?.map(|it| it.value().to_owned()))
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    writing.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT.to_string().as_str())?;
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
const FORMAT: u32 = 1;

/// What is known of the file itself.
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
const FORMAT_KEY: &str = "format";

/// Everything but telemetry, by the keys of `rows`.
pub(super) const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");

/// By hub, in lower case, and offset.
pub(super) const TELEMETRY: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("telemetry");

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
        writing.open_table(ABOUT).expect("a table").insert(FORMAT_KEY, "2").expect("written");
        writing.commit().expect("written");
        drop(database);
        let error = refusal(folder.path());
        assert!(matches!(&error, StateError::Newer { found: 2, .. }), "{error}");
        assert!(error.to_string().contains("written by a newer hubward (format 2, this one reads up to 1)"), "{error}");

        std::fs::write(&path, "no database").expect("written");
        let error = refusal(folder.path());
        assert!(matches!(&error, StateError::Unreadable { .. }), "{error:?}");
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
