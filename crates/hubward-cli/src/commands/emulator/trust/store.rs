//! The certificate store of this machine's operating system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Ca;
use crate::failure::Failure;

const AS_ROOT: &str = "run the command with sudo and name the data directory, --data-dir DIR; or run the lines of \
                       `hubward emulator trust --for os`";

/// A store that this command can change.
pub(super) enum Store {
    /// Debian, Ubuntu, Alpine: `update-ca-certificates`. `root` is `/` or the root of another system.
    Debian {
        root: PathBuf,
    },
    /// Fedora, RHEL: `update-ca-trust`.
    Fedora,
    MacOs,
    Windows,
}

impl Store {
    /// The store of this machine, or of the Debian system below `root`.
    pub(super) fn here(root: Option<&Path>) -> Result<Self, Failure> {
        if let Some(root) = root {
            let root = std::path::absolute(root).map_err(|error| Failure::usage(error.to_string()))?;
            if !root.join("etc/ssl/certs").is_dir() {
                return Err(Failure::usage(format!(
                    "{} has no etc/ssl/certs, so it is not a system in Debian's layout",
                    root.display()
                )));
            }
            return Ok(Self::Debian { root });
        }
        if cfg!(windows) {
            return Ok(Self::Windows);
        }
        if cfg!(target_os = "macos") {
            return Ok(Self::MacOs);
        }
        if program("update-ca-certificates").is_some() {
            return Ok(Self::Debian { root: PathBuf::from("/") });
        }
        if program("update-ca-trust").is_some() {
            return Ok(Self::Fedora);
        }
        Err(Failure::local("this machine has neither update-ca-certificates nor update-ca-trust")
            .hint("install the package ca-certificates, or make single programs trust it: hubward emulator trust"))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Debian { root } if root != Path::new("/") => format!("the store below {}", root.display()),
            _ => "the OS store".to_owned(),
        }
    }

    /// Checks that this user may change the store. Called before the confirmation.
    pub(super) fn check_rights(&self) -> Result<(), Failure> {
        let is_systems = !matches!(self, Self::Debian { root } if root != Path::new("/"));
        if !is_systems || !cfg!(unix) {
            return Ok(());
        }
        let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
        match id {
            Ok(id) if id.status.success() && id.stdout.trim_ascii() != b"0" => {
                Err(Failure::local("only root can change the OS store").hint(AS_ROOT))
            }
            // If `id` does not run, changing the store reports the missing rights.
            _ => Ok(()),
        }
    }

    /// Adds the CA; returns the confirmation to print.
    pub(super) fn install(&self, ca: &Ca) -> Result<String, Failure> {
        if ca.pem.is_empty() {
            return Err(Failure::local("the emulator's certificate is not on this machine")
                .hint(ca.fetch.as_ref().map_or_else(String::new, |it| format!("download it first: {it}"))));
        }
        match self.anchor() {
            Some(anchor) => {
                if std::fs::read(&anchor).is_ok_and(|it| it == ca.pem.as_bytes()) {
                    self.refresh(false)?;
                    return Ok(format!("{} already trusts {}", self.name(), ca.name));
                }
                let written = anchor.parent().map_or(Ok(()), std::fs::create_dir_all);
                written.and_then(|()| std::fs::write(&anchor, &ca.pem)).map_err(|error| denied(&anchor, &error))?;
                if let Err(failure) = self.refresh(false) {
                    // The next rebuild of the store must not add the CA after this command has failed.
                    let _ = std::fs::remove_file(&anchor);
                    return Err(failure);
                }
            }
            None => self.native(ca)?,
        }
        Ok(format!("{} trusts {}; to undo it: hubward emulator trust --uninstall", self.name(), ca.name))
    }

    /// Removes the CA; returns the confirmation to print. Succeeds if the store does not contain the CA.
    pub(super) fn uninstall(&self) -> Result<String, Failure> {
        let Some(anchor) = self.anchor() else {
            return Err(Failure::usage("--uninstall works only on Linux, for now")
                .hint("hubward emulator trust --for os prints the command that removes it here"));
        };
        let pem = std::fs::read_to_string(&anchor).unwrap_or_default();
        match std::fs::remove_file(&anchor) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(format!("{} does not hold it", self.name()));
            }
            Err(error) => return Err(denied(&anchor, &error)),
        }
        self.refresh(true)?;
        if let Self::Debian { root } = self {
            // If no other certificate is left, `update-ca-certificates` does not change the bundle.
            let bundle = root.join("etc/ssl/certs/ca-certificates.crt");
            let holds = std::fs::read_to_string(&bundle).is_ok_and(|it| !pem.is_empty() && it.contains(pem.trim()));
            if holds {
                return Err(Failure::local(format!(
                    "{} still contains it, because no other certificate is left",
                    bundle.display()
                ))
                .hint("remove that file, or install the package ca-certificates there"));
            }
        }
        Ok(format!("{} does not trust it any more", self.name()))
    }

    /// The file from which the store is built.
    fn anchor(&self) -> Option<PathBuf> {
        match self {
            Self::Debian { root } => Some(root.join("usr/local/share/ca-certificates/hubward-emulator.crt")),
            Self::Fedora => Some(PathBuf::from("/etc/pki/ca-trust/source/anchors/hubward-emulator.pem")),
            Self::MacOs | Self::Windows => None,
        }
    }

    /// Builds the store from its files. `from_scratch` is needed after a file was removed: the tool would not
    /// notice that.
    fn refresh(&self, from_scratch: bool) -> Result<(), Failure> {
        let mut command = match self {
            Self::Debian { root } => {
                let mut command = tool("update-ca-certificates");
                if from_scratch {
                    command.arg("--fresh");
                }
                if root != Path::new("/") {
                    for (option, path) in [
                        ("--certsconf", "etc/ca-certificates.conf"),
                        ("--certsdir", "usr/share/ca-certificates"),
                        ("--localcertsdir", "usr/local/share/ca-certificates"),
                        ("--etccertsdir", "etc/ssl/certs"),
                        ("--hooksdir", "etc/ca-certificates/update.d"),
                    ] {
                        command.arg(option).arg(root.join(path));
                    }
                }
                command
            }
            _ => tool("update-ca-trust"),
        };
        ran(&mut command)
    }

    /// Adds the CA on systems whose store is changed by a program.
    fn native(&self, ca: &Ca) -> Result<(), Failure> {
        let mut command = if matches!(self, Self::MacOs) {
            let mut command = Command::new("security");
            command.args(["add-trusted-cert", "-d", "-r", "trustRoot", "-k", "/Library/Keychains/System.keychain"]);
            command
        } else {
            let mut command = Command::new("certutil");
            command.args(["-addstore", "Root"]);
            command
        };
        ran(command.arg(&ca.file))
    }
}

fn ran(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::local(format!("{name} does not start: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Failure::local(format!("{name} ended with {}: {said}", output.status)).hint(AS_ROOT))
}

fn denied(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::local(format!("{} cannot be changed: {error}", path.display()));
    if error.kind() == std::io::ErrorKind::PermissionDenied { failure.hint(AS_ROOT) } else { failure }
}

fn tool(name: &str) -> Command {
    Command::new(program(name).unwrap_or_else(|| name.into()))
}

/// The path of a program: in the folders of `PATH`, or in those of root.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(roots).map(|it| it.join(name)).find(|it| it.is_file())
}
