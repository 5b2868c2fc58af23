//! Keeps a database that has panicked from aborting the process.

use redb::{Database, StorageBackend as _};

use super::held::Storage;
use super::quietly::{Panicked, quietly};

/// Calls `act` with a database that may be damaged. Returns the result of `act` and the database. If redb panics,
/// closes the file and returns an error.
pub(super) fn guarded<R>(
    mut database: Database,
    storage: &Storage,
    act: impl FnOnce(&mut Database) -> R,
) -> Result<(R, Database), Panicked> {
    match quietly(|| act(&mut database)) {
        Ok(result) => Ok((result, database)),
        Err(Panicked) => {
            abandon(database, storage);
            Err(Panicked)
        }
    }
}

/// Closes the file of a database that has panicked. Leaks the database instead of dropping it: its locks are poisoned,
/// so the drop could panic. If that happened during another panic, the process would abort.
pub(super) fn abandon(database: Database, storage: &Storage) {
    std::mem::forget(database);
    if let Err(error) = storage.close() {
        tracing::warn!(%error, "the state file of a damaged database cannot be unlocked");
    }
}
