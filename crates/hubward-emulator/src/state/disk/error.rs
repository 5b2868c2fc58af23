//! The errors of the state file.

use std::io;
use std::path::PathBuf;

use super::tables::FORMAT;

/// Why the state of a data directory cannot be used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another emulator has the file open.
    #[error(
        "{path} is in use by another emulator; stop that emulator, or choose another data directory",
        path = path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of hubward wrote the file.
    #[error(
        "{path} was written by a newer hubward (format {found}, this version reads up to {FORMAT}); use the newer \
         version, or another data directory",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u32,
    },
    /// The contents of the file are damaged. The emulator does not change a damaged file.
    #[error(
        "{path} is damaged: {affected}; the emulator has not changed the file; move it away to start with an empty \
         state, or restore a copy of the data directory",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The affected rows: kind, number and hub. No secrets.
        affected: String,
    },
    /// The file is intact, but it is older than the last acknowledged change. The emulator does not change the file.
    #[error(
        "{path} is older than the last acknowledged change (commit {found} of {acknowledged}): it is damaged, or an \
         older copy; restore a newer copy, move it away to start with an empty state, or delete {mark} to use it",
        path = path.display(),
        mark = mark.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The file `state.commit` next to the state file. It contains the number of the last acknowledged commit.
        mark: PathBuf,
        /// The number of the last commit in the file.
        found: u64,
        /// The number of the last acknowledged commit.
        acknowledged: u64,
    },
    /// The file is intact, but this version does not understand it.
    #[error("{path} cannot be read ({what}); move it away to start with an empty state", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause, without a secret.
        what: String,
    },
    /// The file cannot be opened or written.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

hubward_proto::debug_as_error_report!(StateError);
