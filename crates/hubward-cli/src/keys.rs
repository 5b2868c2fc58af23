//! Reads a key from a file, standard input, the environment, or the command line. Also generates keys.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hubward::vars;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::stop::reading;

/// Maximum size in bytes of a file with a key or token. The limit protects the memory if the user names a wrong file.
/// Keys and tokens are much shorter.
const MOST: u64 = 64 * 1024;

/// Options for the device's key. At most one of them is allowed. If none is given, the key comes from the environment.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct KeySource {
    /// File with the device's key in base64; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    symmetric_key_file: Option<PathBuf>,
    /// Read the device's key in base64 from standard input.
    #[arg(long)]
    symmetric_key_stdin: bool,
    /// The device's key in base64; other users can see it.
    ///
    /// Other users of this machine can see the key in the list of processes. Prefer a file, standard input or
    /// PROVISIONING_SYMMETRIC_KEY.
    #[arg(long, value_name = "BASE64")]
    symmetric_key: Option<Secret>,
}

/// An argument whose `Debug` output does not contain its value.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl Secret {
    /// The text of the argument.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl KeySource {
    /// Whether one of the arguments was given.
    pub(crate) const fn is_given(&self) -> bool {
        self.symmetric_key_file.is_some() || self.symmetric_key_stdin || self.symmetric_key.is_some()
    }

    /// Whether the key comes from standard input.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.symmetric_key_stdin || self.symmetric_key_file.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }

    /// Reads the device's key from the place that the arguments select. Returns `None` if no argument is given.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(file) = &self.symmetric_key_file {
            return read_key_file(file).map(Some);
        }
        if self.symmetric_key_stdin {
            return read_stdin("key").map(Some);
        }
        if let Some(Secret(key)) = &self.symmetric_key {
            tracing::warn!(
                "the key is on the command line, where other users of this machine can read it; \
                 prefer --symmetric-key-file, --symmetric-key-stdin or {}",
                vars::SYMMETRIC_KEY
            );
            return Ok(Some(key.clone()));
        }
        Ok(None)
    }

    /// Reads the device's key from the variable `PROVISIONING_SYMMETRIC_KEY`.
    pub(crate) fn from_env() -> Option<Zeroizing<String>> {
        std::env::var(vars::SYMMETRIC_KEY).ok().filter(|it| !it.trim().is_empty()).map(Zeroizing::new)
    }
}

/// Reads a secret from a file, or from the command line. `what` names the secret in errors. Returns `None` if neither
/// is given.
///
/// If the secret is on the command line, prints a warning, because other users of this machine can read command lines.
#[cfg(feature = "service")]
pub(crate) fn from_file_or_text(
    what: &str,
    flag: &str,
    file: Option<&Path>,
    text: Option<&Secret>,
) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(file) = file {
        return read_secret_file(what, file).map(Some);
    }
    if let Some(Secret(text)) = text {
        tracing::warn!(
            "{flag} is on the command line, where other users of this machine can read it; prefer {flag}-file"
        );
        return Ok(Some(text.clone()));
    }
    Ok(None)
}

/// Generates a random key. Returns it in base64.
#[cfg(feature = "service")]
pub(crate) fn new_key() -> Result<String, Failure> {
    let key = hubward::SharedKey::generate().map_err(|error| Failure::local(error.to_string()))?;
    Ok(key.expose_base64().to_string())
}

/// Reads the text of a key file; `-` is standard input.
pub(crate) fn read_key_file(file: &Path) -> Result<Zeroizing<String>, Failure> {
    read_secret_file("key", file)
}

/// Reads the text of a file that contains a secret; `-` is standard input. `what` names the secret in errors.
pub(crate) fn read_secret_file(what: &str, file: &Path) -> Result<Zeroizing<String>, Failure> {
    if file == Path::new("-") {
        return read_stdin(what);
    }
    let path = file.to_owned();
    match reading(move || std::fs::File::open(path).and_then(read_most))? {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Failure::usage(format!("the {what} file {} is larger than {MOST} bytes", file.display()))),
        Err(_) if is_value(file) => {
            let message = format!("there is no such {what} file: this looks like the value itself");
            Err(Failure::usage(message).hint(
                "write it to a file, or pass it by standard input (`-`), the variable, or the option for the value: \
                 see --help",
            ))
        }
        Err(error) => Err(Failure::usage(format!("the {what} file {} cannot be read: {error}", file.display()))),
    }
}

/// Returns whether the user probably passed the secret itself in place of a file name. Call this if the file cannot be
/// opened.
///
/// A secret is a connection string, a key or a token.
fn is_value(file: &Path) -> bool {
    let Some(text) = file.to_str() else { return false };
    // If the folder of the path exists, the text is probably a file name, and not a key.
    let is_in_folder = file.parent().is_some_and(|it| !it.as_os_str().is_empty() && it.exists());
    let is_key = || STANDARD.decode(text.trim()).is_ok_and(|it| it.len() >= 16);
    text.contains("SharedAccess")
        || text.starts_with("eyJ")
        || text.starts_with("Bearer ")
        || (!is_in_folder && is_key())
}

fn read_stdin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let read = reading(|| read_most(std::io::stdin()))?;
    let text = read.map_err(|error| Failure::usage(format!("no {what} on standard input: {error}")))?;
    text.ok_or_else(|| Failure::usage(format!("no {what} on standard input: it has more than {MOST} bytes")))
}

/// Reads the whole text. Returns `None` if the text has more than [`MOST`] bytes.
fn read_most(source: impl std::io::Read) -> std::io::Result<Option<Zeroizing<String>>> {
    let mut text = Zeroizing::new(String::new());
    source.take(MOST + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= MOST).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_a_secret_passed_as_a_file_name() {
        let token = format!("eyJ{}", "A".repeat(2000));
        for value in [
            "HostName=h;SharedAccessKeyName=p;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "nowhere/AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            &token,
        ] {
            let failure = read_secret_file("key", Path::new(value)).expect_err(value);
            let told = format!("{failure:?}");
            assert!(told.contains("looks like the value itself") && !told.contains(value), "{told}");
        }
        for name in ["/no/such/file", "device.key", "/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"] {
            let failure = read_secret_file("key", Path::new(name)).expect_err(name);
            assert!(failure.messages[0].contains(name), "{failure:?}");
        }
    }

    #[test]
    fn a_secret_that_is_too_long_is_refused_and_not_truncated() {
        let most = usize::try_from(MOST).expect("it fits");
        let read = |length: usize| read_most(&vec![b'a'; length][..]).expect("bytes").map(|it| it.len());
        assert_eq!((read(most), read(most + 1)), (Some(most), None));
    }
}
