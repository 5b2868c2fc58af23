//! A file of the device that cannot be used.

use std::path::PathBuf;

/// A file of the device that cannot be used. The device starts without it, as if there were no file.
///
/// `Display` is a sentence for a warning. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// What the file should contain, such as `assignment cache`.
    pub what: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Why the file cannot be used.
    pub reason: SetAsideReason,
    /// The new name of the file. `None` if the file still has its name, because it is not a regular file, cannot be
    /// read, or cannot be renamed.
    pub renamed_to: Option<PathBuf>,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetAsideReason {
    /// The content is not what this program wrote: the file is empty, incomplete, changed, or too large.
    Damaged(String),
    /// A newer version of this program wrote the file, in a format that this version cannot read.
    Newer {
        /// The version of the format.
        version: String,
    },
    /// The file belongs to another device, another DPS, or other credentials.
    Foreign {
        /// What differs, such as `registration id`.
        difference: &'static str,
    },
    /// There is something else with this name: a folder, a symbolic link, a pipe, a device.
    NotAFile(&'static str),
    /// The operating system does not let this program read the file.
    Unreadable(String),
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = f;
        todo!()
    }
}
