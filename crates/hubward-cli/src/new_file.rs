//! Writes new files, and never replaces a file unless the user asks for it.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// The user ID of root.
#[cfg(unix)]
const ROOT: u32 = 0;

/// The folders whose pipes and devices other users cannot create. `/dev/shm` is none of them.
#[cfg(unix)]
const TRUSTED_FOLDERS: [&str; 4] = ["/dev", "/dev/fd", "/dev/pts", "/proc/self/fd"];

/// The users that can read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only this user.
    Private,
    /// All users, as far as the umask allows.
    Public,
}

/// Returns an error if the file exists and `force` is not set.
pub(crate) fn check(path: &Path, force: bool) -> Result<(), Failure> {
    if path.is_symlink() && is_file_or_missing(path) {
        return Err(
            Failure::usage(format!("{} is a symbolic link", path.display())).hint("name the file that it leads to")
        );
    }
    if path.is_dir() {
        return Err(Failure::usage(format!("{} is a folder", path.display())).hint("name a file"));
    }
    if path.is_file() && !force {
        return Err(exists(path));
    }
    Ok(())
}

/// Whether writing to `output` replaces `other`, an input or another output. Two paths of a device or pipe are never
/// the same, because writing to it replaces nothing.
pub(crate) fn is_same(output: &Path, other: &Path) -> bool {
    is_file_or_missing(output) && resolved(output) == resolved(other)
}

/// The absolute path without `.`, `..` and symbolic links. The last parts of the path need not exist.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(_) => {
                resolved.push(part);
                resolved = resolved.canonicalize().unwrap_or(resolved);
            }
            _ => resolved.push(part),
        }
    }
    resolved
}

/// Writes a file. The file appears under its name only when it is completely on disk.
///
/// If `path` is a pipe or a device, such as `/dev/stdout`, writes directly to it. If `path` is a symbolic link to a
/// file, returns an error: another user may have created the link, to get a key. For the same reason, writes nothing
/// private to a pipe of another user.
pub(crate) fn write(path: &Path, bytes: &[u8], access: Access, force: bool) -> Result<(), Failure> {
    check(path, force)?;
    let failed = |error: std::io::Error| Failure::local(format!("{} cannot be written: {error}", path.display()));
    if !is_file_or_missing(path) {
        let mut file = File::options().write(true).open(path).map_err(failed)?;
        if access == Access::Private {
            check_reader(path, &file)?;
        }
        return file.write_all(bytes).map_err(failed);
    }
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    if access == Access::Public {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut file = builder.prefix(".hubward-").tempfile_in(folder_of(path)).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    let persisted = if force { file.persist(path) } else { file.persist_noclobber(path) };
    match persisted {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(failed(error.error)),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!("{} exists", path.display())).hint("choose another file, or replace this one with --force")
}

/// Returns an error if `file`, a pipe or device at `path`, can belong to a program of another user.
#[cfg(unix)]
fn check_reader(path: &Path, file: &File) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = file
        .metadata()
        .map_err(|error| Failure::local(format!("{} cannot be written: {error}", path.display())))?
        .uid();
    if is_trusted(path, owner, rustix::process::geteuid().as_raw()) {
        return Ok(());
    }
    Err(Failure::usage(format!("{} is a pipe or device of another user", path.display()))
        .hint("choose another file for the key"))
}

#[cfg(not(unix))]
fn check_reader(_: &Path, _: &File) -> Result<(), Failure> {
    Ok(())
}

/// Whether a pipe or device belongs to this user or to root, or was opened by the parent process.
#[cfg(unix)]
fn is_trusted(path: &Path, owner: u32, user: u32) -> bool {
    owner == user || owner == ROOT || TRUSTED_FOLDERS.into_iter().any(|it| path.parent() == Some(Path::new(it)))
}

/// Whether `path` is a file, or leads to a file, or does not exist.
fn is_file_or_missing(path: &Path) -> bool {
    path.metadata().map_or(true, |it| it.is_file())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_existing_file_is_replaced_only_with_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dev-1.key");
        write(&path, b"one", Access::Private, false).expect("a new file");
        let refused = write(&path, b"two", Access::Private, false).expect_err("it exists");
        assert!(refused.messages[0].ends_with("dev-1.key exists"), "{refused:?}");
        assert_eq!(std::fs::read(&path).expect("read"), b"one");
        write(&path, b"three", Access::Private, true).expect("replaced");
        assert_eq!(std::fs::read(&path).expect("read"), b"three");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn only_this_user_can_read_a_private_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, access, before, readable) in [
            ("new.key", Access::Private, None, false),
            ("open.key", Access::Private, Some(0o644), false),
            ("new.pem", Access::Public, None, true),
        ] {
            let path = folder.path().join(name);
            if let Some(mode) = before {
                std::fs::write(&path, "old").expect("written");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            }
            write(&path, b"x", access, true).expect("written");
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
            // The umask of the test decides the other bits of a public file.
            assert!(mode & 0o600 == 0o600 && (readable || mode == 0o600), "{name}: {mode:o}");
        }
    }

    #[test]
    fn no_symbolic_link_is_followed_even_with_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "precious").expect("written");
        for (name, target) in [("link.key", "victim"), ("dangling.key", "nothing")] {
            let path = folder.path().join(name);
            std::os::unix::fs::symlink(folder.path().join(target), &path).expect("linked");
            for force in [false, true] {
                let refused = write(&path, b"a key", Access::Private, force).expect_err("a link");
                assert!(refused.messages[0].ends_with("is a symbolic link"), "{refused:?}");
            }
        }
        assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
        assert!(!folder.path().join("nothing").exists());
    }

    #[test]
    fn a_pipe_is_written_without_force() {
        use std::os::fd::AsRawFd as _;
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let path = format!("/dev/fd/{}", writer.as_raw_fd());
        write(Path::new(&path), b"a certificate", Access::Public, false).expect("written");
        drop(writer);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).expect("read");
        assert_eq!(text, "a certificate");
    }

    #[test]
    fn a_key_goes_only_to_trusted_pipes() {
        let (user, other) = (1000, 1001);
        for (path, owner, expected) in [
            ("folder/pipe", user, true),
            ("folder/pipe", other, false),
            ("folder/pipe", ROOT, true),
            ("/dev/stdout", other, true),
            ("/dev/fd/3", other, true),
            ("/proc/self/fd/1", other, true),
            ("/dev/shm/pipe", other, false),
            ("/dev/../tmp/pipe", other, false),
        ] {
            assert_eq!(is_trusted(Path::new(path), owner, user), expected, "{path} {owner}");
        }
    }
}
