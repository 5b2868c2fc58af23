//! Why a state file cannot be loaded.

use std::io;

use redb::{DatabaseError, StorageError};

/// Why a file cannot be loaded.
#[derive(Debug)]
pub(super) enum LoadError {
    /// Some content is damaged.
    Damaged,
    /// The file has no row checksums, and its contents are damaged.
    DamagedBefore,
    /// The file is intact, but older than the last acknowledged change.
    Older { found: u64, acknowledged: u64 },
    /// A newer version of hubward wrote the file.
    Newer(u32),
    /// Another emulator has the file open.
    InUse,
    /// The contents are intact, but this version does not understand them.
    Unknown(String),
    /// The system cannot read the file.
    Io(io::Error),
}

impl From<redb::Error> for LoadError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if !is_damage(&error) => Self::Io(error),
            _ => Self::Damaged,
        }
    }
}

impl From<DatabaseError> for LoadError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Self::InUse,
            DatabaseError::Storage(StorageError::Io(source)) if !is_damage(&source) => Self::Io(source),
            _ => Self::Damaged,
        }
    }
}

/// Returns whether an error means that the contents of a file are damaged. Other errors come from reading the file.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
