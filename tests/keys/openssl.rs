//! Runs the program `openssl`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A configuration without the defaults of the machine.
const CONFIG: &str = "[req]\ndistinguished_name = name\n[name]\n";

/// A folder in which `openssl` runs.
pub(super) struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    /// Creates an empty folder.
    ///
    /// # Panics
    /// If `openssl` is not installed.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("openssl.cnf"), CONFIG).expect("a file");
        let this = Self(folder);
        this.run("version");
        this
    }

    pub(super) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Runs `openssl` with these arguments, which are separated by spaces. Returns its standard output.
    ///
    /// # Panics
    /// If it fails.
    pub(super) fn run(&self, arguments: &str) -> Vec<u8> {
        let output = self.output(arguments);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {}\n{problem}", output.status);
        output.stdout
    }

    pub(super) fn output(&self, arguments: &str) -> Output {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(self.folder()).stdin(Stdio::null());
        command.env("OPENSSL_CONF", self.folder().join("openssl.cnf")).env_remove("SSL_CERT_FILE");
        match command.output() {
            Ok(it) => it,
            Err(error) => panic!("openssl cannot run: {error}; install the Debian package openssl, as .ci/run does"),
        }
    }

    /// Reads a file of the folder.
    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}
