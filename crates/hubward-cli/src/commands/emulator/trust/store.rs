//! The store of certificates of the machine this runs on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Ca;
use crate::failure::Failure;

/// A store that can be changed.
pub(super) enum Store {
    /// Debian, Ubuntu, Alpine: `update-ca-certificates`. Below a root that may be another system's.
    Debian {
        root: PathBuf,
    },
    /// Fedora, RHEL: `update-ca-trust`.
    Fedora,
    MacOs,
    Windows,
}

impl Store {
    /// The one of this machine, or of the Debian below `root`.
    pub(super) fn here(root: Option<&Path>) -> Result<Self, Failure> {
        if let Some(root) = root {
            let root = std::path::absolute(root).map_err(|error| Failure::usage(error.to_string()))?;
            if !root.join("etc/ssl/certs").is_dir() {
                return Err(Failure::usage(format!(
                    "{} has no etc/ssl/certs: it is no system of Debian's layout",
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
            .hint("install the package ca-certificates, or trust the file where it is needed: hubward emulator trust"))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Debian { root } if root != Path::new("/") => format!("the store below {}", root.display()),
            _ => "the OS store".to_owned(),
        }
    }

    /// Whether this user may change it; asked before anybody is asked anything.
    pub(super) fn check_rights(&self) -> Result<(), Failure> {
        let is_systems = !matches!(self, Self::Debian { root } if root != Path::new("/"));
        if !is_systems || !cfg!(unix) {
            return Ok(());
        }
        let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
        match id {
            Ok(id) if id.status.success() && id.stdout.trim_ascii() != b"0" => {
                Err(Failure::local("the OS store can be changed by root only").hint(AS_ROOT))
            }
            // Whoever cannot be asked will see what the store says.
            _ => Ok(()),
        }
    }

    /// Puts the authority in; says so.
    pub(super) fn install(&self, ca: &Ca) -> Result<String, Failure> {
        if ca.pem.is_empty() {
            return Err(Failure::local("the emulator's certificate is not on this machine")
                .hint(ca.fetch.as_ref().map_or_else(String::new, |it| format!("fetch it first: {it}"))));
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
                    // A store that could not be rebuilt must not pick it up some other day.
                    let _ = std::fs::remove_file(&anchor);
                    return Err(failure);
                }
            }
            None => self.native(ca)?,
        }
        Ok(format!("{} trusts {}; to undo it: hubward emulator trust --uninstall", self.name(), ca.name))
    }

    /// Takes it out; says so. It is no error if it is not there.
    pub(super) fn uninstall(&self) -> Result<String, Failure> {
        let Some(anchor) = self.anchor() else {
            return Err(Failure::usage("--uninstall works on Linux only, for now")
                .hint("hubward emulator trust --for os prints the line that undoes it here"));
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
            // Where no other certificate is left, the bundle stays as it was.
            let bundle = root.join("etc/ssl/certs/ca-certificates.crt");
            let holds = std::fs::read_to_string(&bundle).is_ok_and(|it| !pem.is_empty() && it.contains(pem.trim()));
            if holds {
                return Err(Failure::local(format!(
                    "{} still holds it: no other certificate is left",
                    bundle.display()
                ))
                .hint("remove that file, or install the package ca-certificates there"));
            }
        }
        Ok(format!("{} does not trust it any more", self.name()))
    }

    /// The file that the store is built from.
    fn anchor(&self) -> Option<PathBuf> {
        match self {
            Self::Debian { root } => Some(root.join("usr/local/share/ca-certificates/hubward-emulator.crt")),
            Self::Fedora => Some(PathBuf::from("/etc/pki/ca-trust/source/anchors/hubward-emulator.pem")),
            Self::MacOs | Self::Windows => None,
        }
    }

    /// Builds the store from its files; from nothing if one of them is gone, which it would not notice.
    fn refresh(&self, anew: bool) -> Result<(), Failure> {
        let mut command = match self {
            Self::Debian { root } => {
                let mut command = tool("update-ca-certificates");
                if anew {
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

    /// The systems whose store is a program's.
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

const AS_ROOT: &str = "the OS store is root's: run it with sudo and name the data directory, --data-dir DIR, or paste the \
                       lines of `hubward emulator trust --for os`";

fn tool(name: &str) -> Command {
    Command::new(program(name).unwrap_or_else(|| name.into()))
}

/// Where such a program is: in the folders that every user looks in, and in root's.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let roots = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(roots).map(|it| it.join(name)).find(|it| it.is_file())
}
