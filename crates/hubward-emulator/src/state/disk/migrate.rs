//! Migrates files of format 1, which have no row checksums. An earlier version of hubward wrote such files.

use redb::{Database, ReadableTable as _, TableDefinition};

use super::sums::{Sums, sealed, sealed_message};
use super::tables::{ROWS, TELEMETRY, write_format, write_sums};

/// The number of the format.
pub(super) const FORMAT: u32 = 1;

/// Like [`ROWS`], but the values have no checksums.
pub(super) const OLD_ROWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rows");

/// Like [`TELEMETRY`], but the values have no checksums.
pub(super) const OLD_TELEMETRY: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("telemetry");

/// Moves all rows into the tables of the current format, in one commit.
pub(super) fn migrate(database: &Database) -> Result<(), redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_quick_repair(true);
    let mut sums = Sums::new();
    {
        let (old, mut new) = (writing.open_table(OLD_ROWS)?, writing.open_table(ROWS)?);
        for row in old.iter()? {
            let (key, value) = row?;
            let stored = sealed(key.value(), value.value());
            sums.row(key.value(), None, Some(&stored));
            new.insert(key.value(), stored.as_slice())?;
        }
        let (old, mut new) = (writing.open_table(OLD_TELEMETRY)?, writing.open_table(TELEMETRY)?);
        for row in old.iter()? {
            let (key, value) = row?;
            let (hub, offset) = key.value();
            let stored = sealed_message(hub, offset, value.value());
            sums.message(hub, None, Some(&stored));
            new.insert((hub, offset), stored.as_slice())?;
        }
    }
    writing.delete_table(OLD_ROWS)?;
    writing.delete_table(OLD_TELEMETRY)?;
    write_format(&writing)?;
    write_sums(&writing, &sums)?;
    writing.commit()?;
    Ok(())
}
