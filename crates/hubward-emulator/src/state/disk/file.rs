//! The state file. Only its owner can read it. Its format has a version number. Only one emulator at a time can open
//! it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::guard::guarded;
use super::held::Storage;
use super::load_error::LoadError;
use super::mark::Mark;
use super::quietly::{Panicked, quietly};
use super::sums::Sums;
use super::tables::{FORMAT, FORMAT_KEY, open_held, read_about, read_sums, write_new};
use super::{Disk, DiskLog, StateError, damage, load, migrate, rows, writer};
use crate::state::model::State;
use crate::state::new_file;
use crate::state::telemetry::TelemetryLog;

/// File name in the data directory.
const NAME: &str = "state.redb";

/// Opens the state file of a data directory. Creates the file if it does not exist. Loads the contents of the file into
/// an empty state and empty logs.
///
/// After this call, changes of the state and of the logs are written to the file.
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

/// Creates a file without state. The creation is atomic, because a partly written file could never be opened again.
fn make(path: &Path) -> Result<(), StateError> {
    let made = new_file::create(path, |file| {
        let database = FileBackend::new(file).and_then(|it| Builder::new().create_with_backend(it));
        let database = database.map_err(|it| io::Error::other(it.to_string()))?;
        write_new(&database).map_err(|it| io::Error::other(it.to_string()))
    });
    match made {
        // Another emulator created the file first.
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(StateError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Loads an open file and starts the writer of the file. `mark` contains the number of the last acknowledged commit; it
/// is `None` for storage without a directory.
pub(super) fn start(
    storage: Result<impl StorageBackend, DatabaseError>,
    path: PathBuf,
    mut mark: Option<Mark>,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<Disk, StateError> {
    let read = read(storage, mark.as_ref(), state, logs);
    let (database, storage, sums) = read.map_err(|error| refused(&path, mark.as_ref(), error))?;
    if let Some(mark) = &mut mark {
        mark.note(sums.file, sums.commit);
    }
    rows::track(state);
    let disk = Disk::new(path.clone());
    let written = writer::Written { database, storage, sums, mark, is_checked: false, has_panicked: false };
    writer::spawn(written, &disk).map_err(|source| StateError::File { path, source })?;
    for (hub, log) in logs {
        log.write_to(DiskLog::new(disk.clone(), hub));
    }
    Ok(disk)
}

/// Reads all contents, and then allows redb to write to the file. A file of the old format is migrated before it is
/// read.
///
/// On damaged pages, redb may panic. A panic therefore counts as damage.
fn read(
    file: Result<impl StorageBackend, DatabaseError>,
    mark: Option<&Mark>,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<(Database, Storage, Sums), LoadError> {
    let (database, storage) = quietly(|| open_held(file?)).unwrap_or(Err(LoadError::Damaged))?;
    let examined = guarded(database, &storage, |database| examine(database, &storage, mark, state, logs));
    let (sums, database) = examined.map_err(|Panicked| LoadError::Damaged)?;
    match sums {
        Ok(sums) => Ok((database, storage, sums)),
        Err(error) => {
            // Closing a damaged file may panic, too.
            let _ = quietly(|| drop(database));
            Err(error)
        }
    }
}

/// Checks and loads an open database. Returns the sums of the row checksums. Later writes update these sums.
fn examine(
    database: &mut Database,
    storage: &Storage,
    mark: Option<&Mark>,
    state: &mut State,
    logs: &BTreeMap<String, TelemetryLog>,
) -> Result<Sums, LoadError> {
    let format = read_about(database, FORMAT_KEY)?.ok_or(LoadError::Damaged)?;
    let format = format.parse::<u32>().unwrap_or_default();
    if format != FORMAT {
        // Either the file has another format, or its format number is damaged. The check of all pages distinguishes
        // the two cases. Row checksums cannot do this, because a file of the old format has none.
        let is_whole = database.check_integrity().is_ok();
        match format {
            _ if !is_whole => return Err(LoadError::DamagedBefore),
            migrate::FORMAT => {
                storage.release().map_err(LoadError::Io)?;
                migrate::migrate(database)?;
            }
            newer if newer > FORMAT => return Err(LoadError::Newer(newer)),
            _ => return Err(LoadError::Unknown("its format is unknown".to_owned())),
        }
    }
    let sums = read_sums(database)?.ok_or(LoadError::Damaged)?;
    if let Some(acknowledged) = mark.and_then(|it| it.acknowledged(sums.file)).filter(|it| *it > sums.commit) {
        return Err(LoadError::Older { found: sums.commit, acknowledged });
    }
    load::load(database, &sums, state, logs)?;
    storage.release().map_err(LoadError::Io)?;
    Ok(sums)
}

fn refused(path: &Path, mark: Option<&Mark>, error: LoadError) -> StateError {
    let path = path.to_owned();
    match error {
        LoadError::InUse => StateError::InUse { path },
        LoadError::Newer(found) => StateError::Newer { path, found },
        LoadError::Damaged => StateError::Damaged { affected: damage::survey(&path), path },
        LoadError::DamagedBefore => StateError::Damaged { affected: damage::UNKNOWN.to_owned(), path },
        LoadError::Older { found, acknowledged } => {
            let mark = mark.map(|it| it.path().to_owned()).unwrap_or_default();
            StateError::Older { path, mark, found, acknowledged }
        }
        LoadError::Unknown(what) => StateError::Unreadable { path, what },
        LoadError::Io(source) => StateError::File { path, source },
    }
}

/// Only the owner of the file gets access, because the file contains keys.
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

#[cfg(test)]
mod tests {
    use super::super::tables::ABOUT;
    use super::*;

    fn opened(directory: &Path) -> Result<Disk, StateError> {
        open(directory, &mut State::default(), &BTreeMap::new())
    }

    fn refusal(directory: &Path) -> StateError {
        opened(directory).expect_err("it cannot be used")
    }

    #[test]
    fn unusable_files_are_refused_with_a_specific_error() {
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
        assert!(
            error.to_string().contains("written by a newer hubward (format 3, this version reads up to 2)"),
            "{error}"
        );

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
