//! The file `ready.json` in the data directory. A running emulator writes it so that other commands can find
//! the emulator.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;

/// The emulator writes the file once all its ports are open. Dropping the value removes the file.
pub(super) struct Note(PathBuf);

impl Note {
    /// Writes the file into the data directory.
    pub(super) fn write(
        data_dir: &Path,
        ready: &Value,
        variables: &Variables,
        operator: &Variables,
    ) -> Result<Self, Failure> {
        let path = data_dir.join(FILE);
        let note = json!({ "ready": ready, "variables": variables, "operator": operator });
        write_private(&path, note.to_string().as_bytes())
            .map_err(|error| Failure::local(format!("{} cannot be written: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Note {
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
        let mut note: Value = serde_json::from_slice(&text).ok()?;
        let admin = note["ready"]["admin"].as_str().filter(|it| answers(it))?.to_owned();
        let variables = serde_json::from_value(note["variables"].take()).ok()?;
        let operator = serde_json::from_value(note["operator"].take()).unwrap_or_default();
        Some(Self { variables, operator, admin })
    }
}

/// Names and values of environment variables.
type Variables = [(String, String)];

const FILE: &str = "ready.json";

/// Writes a file that contains keys, readable by this user only.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // Opening an existing file keeps its mode, so others could still read it.
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 != 0 {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    file.write_all(bytes)
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
}
