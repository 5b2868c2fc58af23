//! The file `ready.json` in the data directory. A running emulator writes it so that other commands can find
//! the emulator.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;

/// The emulator writes the file once all its ports are open. Dropping the value removes the file.
pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes the file into the data directory.
    pub(super) fn write(
        data_dir: &Path,
        ready: &Value,
        variables: &Variables,
        operator: &Variables,
    ) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        let file = json!({ "ready": ready, "variables": variables, "operator": operator });
        hubward_emulator::replace_file(&path, file.to_string().as_bytes())
            .map_err(|error| Failure::local(format!("{} cannot be written: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // The user may have removed the file already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running emulator, as its file describes it.
pub(crate) struct Running {
    /// The settings of a device that can register.
    pub(crate) variables: Vec<(String, String)>,
    /// The logins for operators.
    pub(crate) operator: Vec<(String, String)>,
    /// The URL of the admin port.
    pub(crate) admin: String,
}

impl Running {
    /// The emulator that runs with this data directory, if any. An emulator that was killed leaves its file
    /// behind, so this also checks that the admin port accepts connections.
    pub(crate) fn with(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(data_dir.join(FILE)).ok()?;
        let mut file: Value = serde_json::from_slice(&text).ok()?;
        let admin = file["ready"]["admin"].as_str().filter(|it| answers(it))?.to_owned();
        let variables = serde_json::from_value(file["variables"].take()).ok()?;
        let operator = serde_json::from_value(file["operator"].take()).unwrap_or_default();
        Some(Self { variables, operator, admin })
    }
}

/// Names and values of environment variables.
type Variables = [(String, String)];

const FILE: &str = "ready.json";

/// Writes a file that contains keys, readable by this user only, as a whole or not at all. An older file
/// stays until the new one is on disk.
///
/// A symbolic link to a file is refused, since another user may have chosen its target. A pipe or a
/// device, such as `/dev/stdout`, is written as it is.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    if path.metadata().is_ok_and(|it| !it.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    if path.is_symlink() {
        return Err(std::io::Error::other("it is a symbolic link: name the file that it leads to"));
    }
    hubward_emulator::replace_file(path, bytes)
}

/// Whether a program listens at the admin address.
fn answers(admin: &str) -> bool {
    let address = admin.strip_prefix("http://").and_then(|it| it.parse().ok());
    address.is_some_and(|it| std::net::TcpStream::connect_timeout(&it, Duration::from_secs(2)).is_ok())
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
        for (name, target) in [("export.json", "victim"), ("dangling.json", "nothing"), (FILE, "victim")] {
            std::os::unix::fs::symlink(folder.path().join(target), folder.path().join(name)).expect("linked");
        }
        for name in ["export.json", "dangling.json"] {
            let error = write_private(&folder.path().join(name), b"a key").expect_err("a link");
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        // The program owns this file, so it replaces the link.
        let file = ReadyFile::write(folder.path(), &json!({}), &[], &[]).expect("written");
        assert!(!folder.path().join(FILE).is_symlink());
        assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
        assert!(!folder.path().join("nothing").exists());
        drop(file);
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
