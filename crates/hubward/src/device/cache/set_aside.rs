//! The warning about a file of the device that cannot be used.

use std::fmt;
use std::path::PathBuf;

/// The difference of a file that has no credential in common with the device.
pub(super) const CREDENTIAL: &str = "credential";

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
    /// The file is empty, incomplete, changed, or too large. Contains the details.
    Damaged(String),
    /// A newer version of hubward wrote the file, in a format that this version cannot read.
    Newer {
        /// The version of the format.
        version: String,
    },
    /// The file belongs to another device, another DPS, or other credentials.
    Foreign {
        /// What differs, such as `registration id`.
        difference: &'static str,
    },
    /// Something else has this name, such as a folder, a symbolic link or a pipe. Contains what it is.
    NotAFile(&'static str),
    /// The operating system does not let the program read the file. Contains its error.
    Unreadable(String),
}

impl SetAsideReason {
    /// What is appended to the name of the file. `None` if the file keeps its name: it is not a file, or a reason that
    /// passes, such as a permission, prevents reading it.
    pub(super) const fn ending(&self) -> Option<&'static str> {
        match self {
            Self::Damaged(_) => Some(".damaged"),
            Self::Newer { .. } => Some(".newer"),
            Self::Foreign { .. } => Some(".foreign"),
            Self::NotAFile(_) | Self::Unreadable(_) => None,
        }
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} `{}` ", self.what, self.file.display())?;
        match &self.reason {
            SetAsideReason::Damaged(details) => write!(f, "is damaged: {details}")?,
            SetAsideReason::Newer { version } => {
                write!(f, "is from a newer version of hubward: it has the format {version}")?;
            }
            SetAsideReason::Foreign { difference: CREDENTIAL } => f.write_str("is for other credentials")?,
            SetAsideReason::Foreign { difference } => write!(f, "belongs to another device: the {difference} differs")?,
            SetAsideReason::NotAFile(kind) => write!(f, "is {kind}, not a file")?,
            SetAsideReason::Unreadable(error) => write!(f, "cannot be read: {error}")?,
        }
        match (&self.renamed_to, self.reason.ending()) {
            (Some(name), _) => write!(f, "; it is now `{}`, and the device starts without it", name.display()),
            (None, Some(_)) => f.write_str("; it cannot be renamed, and the device starts without it"),
            (None, None) => f.write_str("; the device starts without it"),
        }
    }
}
