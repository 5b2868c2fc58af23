//! Why a file of a device cannot be written.

use std::path::PathBuf;

/// A file of the device that cannot be written. The device goes on. Its next start uses the older file, or registers if
/// there is none.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {what} `{}` cannot be written: {problem}", file.display())]
#[non_exhaustive]
pub struct CacheError {
    /// What the file contains, such as `assignment cache`.
    pub what: &'static str,
    /// The file.
    pub file: PathBuf,
    /// The reason, such as the error of the operating system.
    pub problem: String,
}

hubward_proto::debug_as_error_report!(CacheError);
