//! The number of the last acknowledged commit, in a separate file.
//!
//! A damaged header of the state file may select an earlier commit. This commit is intact but out of date, and the
//! state file itself does not show this.
//!
//! The emulator therefore writes the number of each commit to this file, without a sync. After a power failure, this
//! number may be smaller than the number in the state file, but not larger. If it is larger, the state file is out of
//! date.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// File name in the data directory.
const NAME: &str = "state.commit";

const LENGTH: usize = 20;

/// The file beside the state file.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    /// `None` until the first write.
    file: Option<File>,
    read: Option<Acknowledged>,
    /// A failure is logged only once.
    has_failed: bool,
}

/// The last acknowledged commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acknowledged {
    file: u64,
    commit: u64,
}

impl Mark {
    /// Reads the mark in this directory. Ignores a mark that is damaged or that is not a regular file.
    pub(super) fn read(directory: &Path) -> Self {
        let path = directory.join(NAME);
        let is_file = path.symlink_metadata().is_ok_and(|it| it.is_file());
        let read = || Acknowledged::read(&mut File::open(&path).ok()?);
        let read = if is_file { read() } else { None };
        Self { path, file: None, read, has_failed: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the last acknowledged commit of the state file with the id `file`. Returns `None` if the
    /// number could not be read, or if it belongs to another state file.
    pub(super) fn acknowledged(&self, file: u64) -> Option<u64> {
        self.read.filter(|it| it.file == file).map(|it| it.commit)
    }

    /// Records that a commit is on disk.
    ///
    /// A failed write is not an error for the caller. This function only logs the first failure. The emulator can
    /// continue, because the number only helps to detect a damaged header.
    pub(super) fn note(&mut self, file: u64, commit: u64) {
        let now = Acknowledged { file, commit };
        if self.read == Some(now) {
            return;
        }
        if let Err(error) = self.write(now)
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot write the number of the last commit");
        }
        self.read = Some(now);
    }

    fn write(&mut self, now: Acknowledged) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&now.bytes())
    }

    /// Does not follow symbolic links.
    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match self.path.symlink_metadata() {
            Ok(is) if is.is_file() => return options.open(&self.path),
            Ok(_) => fs::remove_file(&self.path)?,
            Err(_) => {}
        }
        options.create_new(true).open(&self.path)
    }
}

impl Acknowledged {
    fn bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&self.file.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.commit.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..16]);
        bytes[16..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(from: &mut File) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        from.read_exact(&mut bytes).ok()?;
        let number = |at: usize| bytes[at..].first_chunk().map(|it| u64::from_le_bytes(*it));
        let read = Self { file: number(0)?, commit: number(8)? };
        (read.bytes() == bytes).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_the_last_number_of_the_same_file_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mark = Mark::read(folder.path());
        assert_eq!(mark.acknowledged(7), None);
        for commit in [1, 2, 300] {
            mark.note(7, commit);
            let read = Mark::read(folder.path());
            assert_eq!((read.acknowledged(7), read.acknowledged(8)), (Some(commit), None));
        }
        let path = folder.path().join(NAME);
        for damaged in [&b""[..], b"short", &[0; LENGTH], &[0xff; 40]] {
            fs::write(&path, damaged).expect("written");
            assert_eq!(Mark::read(folder.path()).acknowledged(7), None);
            Mark::read(folder.path()).note(7, 301);
            assert_eq!(Mark::read(folder.path()).acknowledged(7), Some(301));
        }
    }

    #[cfg(unix)]
    #[test]
    fn does_not_follow_symbolic_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, folder.path().join(NAME)).expect("linked");
        let mut mark = Mark::read(folder.path());
        mark.note(7, 1);
        assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        assert_eq!(Mark::read(folder.path()).acknowledged(7), Some(1));
    }
}
