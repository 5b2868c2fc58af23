//! Writes files that only this user can read.

use std::io::Write as _;
use std::path::Path;

/// Writes a file that contains keys. Only this user can read the file. An existing file is replaced only after the new
/// file is completely on disk.
///
/// If `path` is a pipe or a device, such as `/dev/stdout`, writes directly to it. If `path` is a symbolic link to a
/// file, returns an error: another user may have created the link, to get the keys.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|it| !it.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    if path.is_symlink() {
        return Err(std::io::Error::other("it is a symbolic link: name the file that it leads to"));
    }
    hubward_emulator::replace_file(path, bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_this_user_can_read_the_written_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, before) in [("new", None), ("open", Some(0o644)), ("closed", Some(0o600))] {
            let path = folder.path().join(name);
            if let Some(mode) = before {
                std::fs::write(&path, "longer than the new content").expect("written");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            }
            write_private(&path, b"a key").expect("written");
            let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!((mode & 0o777, std::fs::read(&path).expect("read")), (0o600, b"a key".to_vec()), "{name}");
        }
    }

    /// The names of the files in the folder.
    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let files = std::fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = files.map(|it| it.expect("a file").file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn no_symbolic_link_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "precious").expect("written");
        for (name, target) in [("export.json", "victim"), ("dangling.json", "nothing")] {
            std::os::unix::fs::symlink(folder.path().join(target), folder.path().join(name)).expect("linked");
        }
        for name in ["export.json", "dangling.json"] {
            let error = write_private(&folder.path().join(name), b"a key").expect_err("a link");
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
        assert!(!folder.path().join("nothing").exists());
        assert_eq!(names(folder.path()), ["dangling.json", "export.json", "victim"]);
    }

    #[test]
    fn an_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("export.json");
        write_private(&path, b"old").expect("written");
        let mut reader = std::fs::File::open(&path).expect("opened");
        write_private(&path, b"new").expect("written");
        let mut old = String::new();
        std::io::Read::read_to_string(&mut reader, &mut old).expect("read");
        assert_eq!((old.as_str(), std::fs::read(&path).expect("read").as_slice()), ("old", b"new".as_slice()));
        assert_eq!(names(folder.path()), ["export.json"]);
    }

    #[test]
    fn a_pipe_is_written_as_it_is() {
        use std::os::fd::AsRawFd as _;
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        write_private(Path::new(&format!("/dev/fd/{}", writer.as_raw_fd())), b"a key").expect("written");
        drop(writer);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).expect("read");
        assert_eq!(text, "a key");
    }
}
