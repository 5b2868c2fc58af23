//! A file of the data directory that contains a private key. The emulator creates the file once, and then reads it at
//! each start.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::new_file;

/// Why a certificate authority of the emulator cannot be used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// A file or directory cannot be created or read.
    #[error("cannot use {path}", path = path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file exists, but does not contain a usable CA of an emulator.
    #[error(
        "{path} is not a certificate authority of this emulator ({what}); move it away to get a new one",
        path = path.display()
    )]
    Unusable {
        /// The path.
        path: PathBuf,
        /// The cause, without any part of the key.
        what: &'static str,
    },
    /// A certificate cannot be issued.
    #[error("cannot issue a certificate")]
    Make(#[from] rcgen::Error),
}

hubward_proto::debug_as_error_report!(CaError);

/// Reads a file. If the file does not exist, creates it with the text that `make` returns. If several emulators start
/// at once, they all get the same text.
///
/// A new file has mode 0600. If its directory does not exist, this function creates it with mode 0700.
pub(crate) fn open(path: &Path, make: impl FnOnce() -> Result<String, CaError>) -> Result<String, CaError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CaError::File { path, source }
    };
    let directory = path.parent().unwrap_or(path);
    make_directory(directory).map_err(failed(directory))?;
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make()?;
            match new_file::create(path, |mut file| file.write_all(text.as_bytes())) {
                // Another emulator created the file first; use that file.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
                created => created.map(|()| text),
            }
        }
        read => read,
    };
    let text = text.map_err(failed(path))?;
    warn_if_readable(path);
    Ok(text)
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn warn_if_readable(path: &Path) {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata);
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "other users can read the key of a CA of the emulator");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}
