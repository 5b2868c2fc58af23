//! A small file that only this user can read, and that changes atomically.
//!
//! After a crash or a power failure at any moment, the file has its old or its new content. Two processes that write
//! the same file do not mix their contents: the last one wins.
//!
//! On Windows, the access rights of the folder apply to the file.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::set_aside::SetAsideReason;
use super::{CacheError, SetAside};

/// Maximum size of a file in bytes: about ten times the size of the largest file that a device needs.
pub(super) const SIZE_MAX: usize = 64 * 1024;

/// How often [`PrivateFile::replace`] begins again if another process has removed its temporary file.
const ATTEMPTS: u32 = 3;

/// The end of the name of a temporary file. Before it are the name of the file and 16 hexadecimal digits.
const TEMPORARY: &str = ".new";

/// A path, and what the file at this path contains. Keeps no file open.
#[derive(Debug)]
pub(super) struct PrivateFile {
    path: PathBuf,
    what: &'static str,
}

/// The operations of [`PrivateFile::replace`], in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Creates the temporary file, with mode 0600.
    Create,
    /// Writes the content to the temporary file.
    Write,
    /// Waits until the content of the temporary file is on the disk.
    SyncFile,
    /// Gives the temporary file the name of the file.
    Rename,
    /// Waits until the new name is on the disk.
    SyncFolder,
}

impl PrivateFile {
    /// `what` names the content in warnings and errors, such as `assignment cache`.
    pub(super) const fn new(path: PathBuf, what: &'static str) -> Self {
        Self { path, what }
    }

    /// Reads the file. Returns `None` if there is no file. Never waits: a pipe or a device is not opened.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, SetAsideReason> {
        let Some(metadata) = self.metadata().map_err(unreadable)? else { return Ok(None) };
        check_kind(&metadata)?;
        let file = match open(&self.path) {
            Ok(it) => it,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        // Another program may have replaced the file since the first check.
        let metadata = file.metadata().map_err(unreadable)?;
        check_kind(&metadata)?;
        let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        if size > SIZE_MAX {
            return Err(too_large(size));
        }
        // The buffer has its capacity from the start: a buffer that grows leaves copies of a key in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size + 2));
        file.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > SIZE_MAX { Err(too_large(bytes.len())) } else { Ok(Some(bytes)) }
    }

    /// Replaces the content of the file, or creates the file.
    ///
    /// # Errors
    /// [`CacheError`]. The file has its old or its new content.
    pub(super) fn replace(&self, bytes: &[u8]) -> Result<(), CacheError> {
        self.replace_in_steps(bytes, &mut |_| Ok(()))
    }

    /// Like [`PrivateFile::replace`]. Calls `before` before each operation, so that a test can look at the folder or
    /// return an error.
    pub(super) fn replace_in_steps(
        &self,
        bytes: &[u8],
        before: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        if bytes.len() > SIZE_MAX {
            return Err(self.error(format!("it would have {} bytes; at most {SIZE_MAX} are allowed", bytes.len())));
        }
        self.check_replaceable()?;
        let mut attempt = 1;
        loop {
            match self.try_replace(bytes, before) {
                // Another process has removed the temporary file, because it took the file for one of a dead process.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                replaced => return replaced.map_err(|error| self.error(error.to_string())),
            }
        }
    }

    fn try_replace(&self, bytes: &[u8], before: &mut dyn FnMut(Step) -> io::Result<()>) -> io::Result<()> {
        let path = self.path.with_file_name(self.temporary_name(fastrand::u64(..)));
        before(Step::Create)?;
        let mut options = OpenOptions::new();
        // With `create_new`, the system follows no link and opens no file that exists.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let mut temporary = Temporary { path: &path, is_renamed: false };
        before(Step::Write)?;
        file.write_all(bytes)?;
        before(Step::SyncFile)?;
        file.sync_all()?;
        drop(file);
        before(Step::Rename)?;
        fs::rename(&path, &self.path)?;
        temporary.is_renamed = true;
        before(Step::SyncFolder)?;
        sync_folder(&self.path)
    }

    /// Renames the file, because it cannot be used, and returns the warning.
    ///
    /// The new name is the name of the file and one of three endings: `.damaged`, `.newer`, `.foreign`. The file
    /// replaces an older one with this name, so there are never more than three.
    pub(super) fn set_aside(&self, reason: SetAsideReason) -> SetAside {
        let renamed_to = reason.ending().and_then(|ending| {
            let mut name = self.path.file_name()?.to_owned();
            name.push(ending);
            let new = self.path.with_file_name(name);
            fs::rename(&self.path, &new).ok()?;
            // The file is useless, so it does no harm if the system forgets the new name.
            let _ = sync_folder(&self.path);
            Some(new)
        });
        SetAside { what: self.what, file: self.path.clone(), reason, renamed_to }
    }

    /// Removes the temporary files that killed processes left. Ignores errors.
    pub(super) fn sweep(&self) {
        // A path without a file name has no temporary files.
        let Some(_) = self.path.file_name() else { return };
        let Ok(entries) = fs::read_dir(folder_of(&self.path)) else { return };
        for entry in entries.flatten() {
            if self.is_temporary(&entry.file_name()) && entry.file_type().is_ok_and(|it| it.is_file()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// An error of this file.
    pub(super) fn error(&self, problem: impl Into<String>) -> CacheError {
        CacheError { what: self.what, file: self.path.clone(), problem: problem.into() }
    }

    /// Returns `None` if nothing has this name. Does not follow a link.
    fn metadata(&self) -> io::Result<Option<Metadata>> {
        match fs::symlink_metadata(&self.path) {
            Ok(it) => Ok(Some(it)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Only a regular file is replaced or removed. A folder, a link or a pipe has another purpose.
    fn check_replaceable(&self) -> Result<(), CacheError> {
        if self.path.file_name().is_none() {
            return Err(self.error("the path has no file name"));
        }
        let metadata = self.metadata().map_err(|error| self.error(error.to_string()))?;
        match metadata.as_ref().map(check_kind) {
            Some(Err(SetAsideReason::NotAFile(kind))) => Err(self.error(format!("it is {kind}"))),
            _ => Ok(()),
        }
    }

    fn temporary_name(&self, number: u64) -> OsString {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number:016x}{TEMPORARY}"));
        name
    }

    fn is_temporary(&self, name: &std::ffi::OsStr) -> bool {
        let own = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let rest = name.as_encoded_bytes().strip_prefix(own);
        let number = rest.and_then(|it| it.strip_prefix(b".")?.strip_suffix(TEMPORARY.as_bytes()));
        number.is_some_and(|it| it.len() == 16 && it.iter().all(u8::is_ascii_hexdigit))
    }
}

/// A temporary file. Dropping this value removes the file, if it was not renamed.
struct Temporary<'a> {
    path: &'a Path,
    is_renamed: bool,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_renamed {
            let _ = fs::remove_file(self.path);
        }
    }
}

/// Opens a file to read it. If it has just become a link, returns an error. If it has just become a pipe, does not wait
/// for a writer.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}

/// Returns an error if this is not a regular file.
fn check_kind(metadata: &Metadata) -> Result<(), SetAsideReason> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(SetAsideReason::NotAFile(match kind {
        it if it.is_dir() => "a folder",
        it if it.is_symlink() => "a symbolic link",
        _ => "a pipe, a socket or a device",
    }))
}

fn too_large(size: usize) -> SetAsideReason {
    SetAsideReason::Damaged(format!("it has {size} bytes, and at most {SIZE_MAX} are allowed"))
}

fn unreadable(error: io::Error) -> SetAsideReason {
    SetAsideReason::Unreadable(error.to_string())
}

/// Waits until the names in the folder of `path` are on the disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let synced = File::open(folder_of(path)).and_then(|it| it.sync_all());
        // Not every file system can sync a folder, and not every user may read the folder in which it may write.
        let cannot = [ErrorKind::InvalidInput, ErrorKind::Unsupported, ErrorKind::PermissionDenied];
        synced.or_else(|error| if cannot.contains(&error.kind()) { Ok(()) } else { Err(error) })
    }
    // Windows has no call for this.
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
