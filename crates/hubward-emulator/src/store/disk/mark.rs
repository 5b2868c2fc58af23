//! The number of the last commit that was acknowledged, in a file of its own.
//!
//! A damaged header may name an earlier commit, which is whole and only too old. Nothing in the file itself
//! tells it from the present one. The number is written after the commit and never forced to the disk, so it
//! may be smaller than that of the file after a power cut, and never larger.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The file beside the state.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    /// `None` until something is written.
    file: Option<File>,
    read: Option<Acknowledged>,
    /// A failure is told once.
    has_failed: bool,
}

/// What was acknowledged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acknowledged {
    file: u64,
    commit: u64,
}

impl Mark {
    /// Reads the mark in this directory. One that is damaged or no regular file counts as none.
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

    /// The last commit of this file that was acknowledged, if that is known.
    pub(super) fn acknowledged(&self, file: u64) -> Option<u64> {
        self.read.filter(|it| it.file == file).map(|it| it.commit)
    }

    /// Notes that a commit is on disk. Without the note a damaged header could go unnoticed, and nothing
    /// else depends on it, so a failure is told and not passed on.
    pub(super) fn note(&mut self, file: u64, commit: u64) {
        let now = Acknowledged { file, commit };
        if self.read == Some(now) {
            return;
        }
        if let Err(error) = self.write(now)
            && !std::mem::replace(&mut self.has_failed, true)
        {
            tracing::warn!(path = %self.path.display(), %error, "the number of the last commit cannot be written");
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

    /// Never through a symbolic link.
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

/// Its name in the data directory.
const NAME: &str = "state.commit";

const LENGTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_is_read_back_and_only_for_its_file() {
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
    fn no_link_is_followed() {
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
