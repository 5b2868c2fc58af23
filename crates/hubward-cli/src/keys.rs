//! Where a key comes from: a file, standard input, the environment, or the command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use hubward::vars;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The ways to give a device's key. At most one; none means the environment.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct KeySource {
    /// A file with the device's key, base64; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    symmetric_key_file: Option<PathBuf>,
    /// Read the device's key, base64, from standard input.
    #[arg(long)]
    symmetric_key_stdin: bool,
    /// The device's key, base64. Other users of this machine can see it in the list of processes:
    /// prefer a file, standard input or PROVISIONING_SYMMETRIC_KEY.
    #[arg(long, value_name = "BASE64")]
    symmetric_key: Option<Secret>,
}

/// An argument that must not show up in `Debug`.
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
    /// The text that was typed.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl KeySource {
    /// Whether one of the arguments was given.
    pub(crate) const fn is_given(&self) -> bool {
        self.symmetric_key_file.is_some() || self.symmetric_key_stdin || self.symmetric_key.is_some()
    }

    /// Whether standard input holds the key.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.symmetric_key_stdin || self.symmetric_key_file.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }

    /// The key's text, if one of the arguments was given.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(file) = &self.symmetric_key_file {
            return read_key_file(file).map(Some);
        }
        if self.symmetric_key_stdin {
            return read_stdin("key").map(Some);
        }
        if let Some(Secret(key)) = &self.symmetric_key {
            tracing::warn!(
                "the key stands on the command line, where other users of this machine can read it; \
                 prefer --symmetric-key-file, --symmetric-key-stdin or {}",
                vars::SYMMETRIC_KEY
            );
            return Ok(Some(key.clone()));
        }
        Ok(None)
    }

    /// The key's text from `PROVISIONING_SYMMETRIC_KEY`.
    pub(crate) fn from_env() -> Option<Zeroizing<String>> {
        std::env::var(vars::SYMMETRIC_KEY).ok().filter(|it| !it.trim().is_empty()).map(Zeroizing::new)
    }
}

/// A secret of this kind from a file, or from the command line, where others can read it.
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
            "{flag} stands on the command line, where other users of this machine can read it; prefer {flag}-file"
        );
        return Ok(Some(text.clone()));
    }
    Ok(None)
}

/// The text of a key file; `-` is standard input.
pub(crate) fn read_key_file(file: &Path) -> Result<Zeroizing<String>, Failure> {
    read_secret_file("key", file)
}

/// The text of a file that holds a secret of this kind; `-` is standard input.
pub(crate) fn read_secret_file(what: &str, file: &Path) -> Result<Zeroizing<String>, Failure> {
    if file == Path::new("-") {
        return read_stdin(what);
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("the {what} file {} cannot be read: {error}", file.display())))?;
    Ok(Zeroizing::new(text))
}

fn read_stdin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(MOST)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("no {what} on standard input: {error}")))?;
    Ok(text)
}

/// Far more than any key; a wrong file must not fill the memory.
const MOST: u64 = 4096;
