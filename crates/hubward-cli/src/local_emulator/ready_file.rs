//! The file `ready.json` in the data directory. A running emulator writes the file. Other commands read the file to
//! find the emulator.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;

/// The name of the file in the data directory.
const FILE: &str = "ready.json";

/// Names and values of environment variables.
type Variables = [(String, String)];

/// The file on disk. The emulator writes it when all ports are open. Dropping this value removes the file.
pub(crate) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes the file into the data directory.
    pub(crate) fn write(
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
        // Ignore an error: the user may already have removed the file.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The content of the file: the facts about a running emulator.
pub(crate) struct Running {
    /// The settings of a device that can register.
    pub(crate) variables: Vec<(String, String)>,
    /// The logins for operators.
    pub(crate) operator: Vec<(String, String)>,
    /// The URL of the admin port.
    pub(crate) admin: String,
    /// The ports of MQTT and of HTTPS.
    pub(crate) ports: (u16, u16),
}

impl Running {
    /// Returns the emulator that runs with this data directory. Returns `None` if the file is missing, or if no program
    /// listens at the admin port.
    ///
    /// The file alone does not prove that the emulator runs, because a killed emulator leaves its file.
    pub(crate) fn with(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(data_dir.join(FILE)).ok()?;
        let mut file: Value = serde_json::from_slice(&text).ok()?;
        let admin = file["ready"]["admin"].as_str().filter(|it| answers(it))?.to_owned();
        let ports = (port(&file["ready"]["mqtt"])?, port(&file["ready"]["https"])?);
        let variables = serde_json::from_value(file["variables"].take()).ok()?;
        let operator = serde_json::from_value(file["operator"].take()).unwrap_or_default();
        Some(Self { variables, operator, admin, ports })
    }
}

/// Returns the port of the first address in a list of addresses.
fn port(addresses: &Value) -> Option<u16> {
    let address: std::net::SocketAddr = addresses[0].as_str()?.parse().ok()?;
    Some(address.port())
}

/// Returns whether a program listens at the admin address.
fn answers(admin: &str) -> bool {
    let address = admin.strip_prefix("http://").and_then(|it| it.parse().ok());
    address.is_some_and(|it| std::net::TcpStream::connect_timeout(&it, Duration::from_secs(2)).is_ok())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// If `ready.json` is a symbolic link, the program replaces the link, and does not write to the file behind the
    /// link.
    #[test]
    fn a_symbolic_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (victim, path) = (folder.path().join("victim"), folder.path().join(FILE));
        std::fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, &path).expect("linked");
        let file = ReadyFile::write(folder.path(), &json!({}), &[], &[]).expect("written");
        assert!(path.exists() && !path.is_symlink());
        assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
        drop(file);
        assert!(!path.exists() && !path.is_symlink() && victim.exists());
    }
}
