//! The tables of the state file, and its entries about itself.

use redb::{Builder, Database, ReadableDatabase as _, StorageBackend, TableDefinition, TableError, WriteTransaction};

use super::held::Storage;
use super::load_error::LoadError;
use super::sums::Sums;

/// Version of the row format. A new optional member of a row does not change the version. Any other change of the
/// format needs a new version, and code that migrates the previous version.
pub(super) const FORMAT: u32 = 2;

/// Entries about the file itself.
pub(super) const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
pub(super) const FORMAT_KEY: &str = "format";
const SUMS_KEY: &str = "sums";

/// All rows except telemetry. The module `rows` defines the keys. The values contain checksums, which the module `sums`
/// defines.
pub(super) const ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("checked-rows");

/// Telemetry messages. The key consists of the hub (in lower case) and the offset. The values contain checksums.
pub(super) const TELEMETRY: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("checked-telemetry");

/// A small cache is enough, because the whole state is in memory.
const CACHE: usize = 4 * 1024 * 1024;

/// Opens an existing database with writes held back.
pub(super) fn open_held(file: impl StorageBackend) -> Result<(Database, Storage), LoadError> {
    let storage = Storage::held(file).map_err(LoadError::Io)?;
    // Refuse an empty file here, because redb would create a new database in it. The emulator never creates an empty
    // file, so an empty file is damaged.
    if storage.len().map_err(LoadError::Io)? == 0 {
        return Err(LoadError::Damaged);
    }
    let database = Builder::new().set_cache_size(CACHE).create_with_backend(storage.clone())?;
    Ok((database, storage))
}

/// Reads an entry about the file itself.
pub(super) fn read_about(database: &Database, key: &str) -> Result<Option<String>, redb::Error> {
    let reading = database.begin_read()?;
    let about = match reading.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(about.get(key)?.map(|it| it.value().to_owned()))
}

/// Reads the expected sums of the file. Returns `None` if their entry is missing or damaged.
pub(super) fn read_sums(database: &Database) -> Result<Option<Sums>, redb::Error> {
    Ok(read_about(database, SUMS_KEY)?.and_then(|it| Sums::from_text(&it)))
}

/// Writes the sums. They are part of a commit.
pub(super) fn write_sums(writing: &WriteTransaction, sums: &Sums) -> Result<(), redb::Error> {
    writing.open_table(ABOUT)?.insert(SUMS_KEY, sums.to_text().as_str())?;
    Ok(())
}

/// Writes the current format number. It is part of a commit.
pub(super) fn write_format(writing: &WriteTransaction) -> Result<(), redb::Error> {
    writing.open_table(ABOUT)?.insert(FORMAT_KEY, FORMAT.to_string().as_str())?;
    Ok(())
}

/// Initializes an empty database.
pub(super) fn write_new(database: &Database) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    write_format(&writing)?;
    write_sums(&writing, &Sums::new())?;
    // Creates the tables, so that readers find them.
    writing.open_table(ROWS)?;
    writing.open_table(TELEMETRY)?;
    writing.commit()?;
    Ok(())
}
