//! Creates files of the data directory atomically. A file is either complete or absent, even if the process is killed
//! or the power fails.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Creates a file with mode 0600. Fails if the file already exists.
///
/// `fill` writes the contents to a temporary file, which also has mode 0600. The file gets its real name only when it
/// is complete.
pub(crate) fn create<E: From<io::Error>>(path: &Path, fill: impl FnOnce(File) -> Result<(), E>) -> Result<(), E> {
    let temporary = Temporary::beside(path);
    fill(temporary.create()?)?;
    temporary.sync()?;
    // Use `hard_link`, because it fails if the name exists. `rename` would replace the existing file.
    fs::hard_link(&temporary.path, path)?;
    drop(temporary);
    Ok(sync_directory(path)?)
}

/// Creates a file, or replaces an existing file or symbolic link.
///
/// # Errors An I/O error of the system. After an error, an existing file is unchanged.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = Temporary::beside(path);
    io::Write::write_all(&mut temporary.create()?, bytes)?;
    temporary.sync()?;
    fs::rename(&temporary.path, path)?;
    sync_directory(path)
}

/// Removes the temporary files that interrupted processes left in a directory.
pub(crate) fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        let number = name.strip_suffix(".new").and_then(|it| it.rsplit_once('.')).map(|(_, it)| it);
        if number.is_some_and(|it| it.parse::<u64>().is_ok()) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A temporary file. Dropping this value removes the file if the file has not been renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(path: &Path) -> Self {
        Self { path: path.with_extension(format!("{}.new", fastrand::u64(..))) }
    }

    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path)
    }

    fn sync(&self) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Ignore the error: the removal fails if the file has been renamed or was never created.
        let _ = fs::remove_file(&self.path);
    }
}

/// Syncs a directory. Without the sync, a power failure may remove a new name from the directory.
fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        match File::open(directory)?.sync_all() {
            // Ignore the error, because not every file system can sync a directory.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
            synced => return synced,
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        create(path, |mut file| io::Write::write_all(&mut file, text.as_bytes()))
    }

    #[test]
    fn a_file_is_complete_or_absent_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        let half = |mut file: File| {
            io::Write::write_all(&mut file, b"half")?;
            Err(io::Error::other("no more"))
        };
        create(&path, half).expect_err("it is not filled");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        write(&path, "one").expect("written");
        let error = write(&path, "two").expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("there"), "one");
        replace(&path, b"three").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "three");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn sweep_removes_temporary_files_only() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["ca-key.17.new", "state.18446744073709551615.new", "ca.pem", "a.new", "1.new", "b.x.new"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        sweep(folder.path()).expect("swept");
        let left = fs::read_dir(folder.path()).expect("a folder").map(|it| it.expect("a file").file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["1.new", "a.new", "b.x.new", "ca.pem"]);
    }
}
