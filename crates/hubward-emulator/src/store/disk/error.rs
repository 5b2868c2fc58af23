//! Why a file cannot be used.

use std::io;
use std::path::PathBuf;

use super::file::FORMAT;

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
    /// Something in it is not as an emulator wrote it. The file stays as it is.
    #[error(
        "{path} is damaged: {affected}; the file is left as it is: move it away to begin anew, or put a copy of the data \
         directory in place",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is affected, without a secret: which rows, how many, of which hub.
        affected: String,
    },
    /// It is whole, and older than what was acknowledged. The file stays as it is.
    #[error(
        "{path} is older than what was acknowledged (commit {found} of {acknowledged}): it is damaged, or an older copy; \
         put a newer copy in place, move it away to begin anew, or delete {mark} to go on with it",
        path = path.display(),
        mark = mark.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The file beside it that tells the last commit.
        mark: PathBuf,
        /// The number of its last commit.
        found: u64,
        /// The number of the last commit that was acknowledged.
        acknowledged: u64,
    },
    /// It is whole, and this version does not understand it.
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
