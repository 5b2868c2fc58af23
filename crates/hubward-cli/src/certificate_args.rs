//! The options for the certificate with which a device logs in.

use std::path::{Path, PathBuf};

use clap::Args;
use hubward::vars;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::keys::read_secret_file;

/// The variables that contain the certificate of a device.
const VARIABLES: [&str; 3] = [vars::CERT_FILE, vars::KEY_FILE, vars::PASS_PHRASE];

/// The names in the parser of all options for a symmetric key.
const SYMMETRIC_KEY: [&str; 4] = ["symmetric_key_file", "symmetric_key_stdin", "symmetric_key", "group_key_file"];

#[derive(Debug, Args)]
pub(crate) struct CertificateArgs {
    /// PEM file with the device's certificate, then its issuers [env: X509_CERT_FILE]
    ///
    /// The device logs in with this certificate in place of a symmetric key. `hubward x509 new-device` creates one for
    /// a test.
    #[arg(long, value_name = "FILE", conflicts_with_all = SYMMETRIC_KEY)]
    cert_file: Option<PathBuf>,
    /// PEM file with the private key of the certificate [env: X509_KEY_FILE]
    #[arg(long, value_name = "FILE", conflicts_with_all = SYMMETRIC_KEY)]
    key_file: Option<PathBuf>,
    /// File with the passphrase of the private key; `-` reads standard input.
    ///
    /// [env: X509_PASS_PHRASE, the passphrase itself]
    #[arg(long, value_name = "FILE", conflicts_with_all = SYMMETRIC_KEY)]
    key_passphrase_file: Option<PathBuf>,
}

/// The values of the options. The passphrase is already read.
pub(crate) struct CertificateOptions<'a> {
    args: &'a CertificateArgs,
    passphrase: Option<Zeroizing<String>>,
}

impl CertificateArgs {
    /// Whether one of the options is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.cert_file.is_some() || self.key_file.is_some() || self.key_passphrase_file.is_some()
    }

    /// Whether standard input holds the passphrase.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.key_passphrase_file.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }

    /// Reads the passphrase.
    pub(crate) fn read(&self) -> Result<CertificateOptions<'_>, Failure> {
        Ok(CertificateOptions { args: self, passphrase: passphrase(self.key_passphrase_file.as_deref())? })
    }
}

impl CertificateOptions<'_> {
    /// The value that an option gives to this variable.
    pub(crate) fn value(&self, variable: &str) -> Option<String> {
        let text = |file: &Option<PathBuf>| file.as_ref().map(|it| it.display().to_string());
        match variable {
            vars::CERT_FILE => text(&self.args.cert_file),
            vars::KEY_FILE => text(&self.args.key_file),
            vars::PASS_PHRASE => self.passphrase.as_ref().map(|it| it.to_string()),
            _ => None,
        }
    }
}

/// Whether the variable belongs to a certificate.
pub(crate) fn is_for_certificate(variable: &str) -> bool {
    VARIABLES.contains(&variable)
}

/// Reads a passphrase from a file; `-` is standard input. A line end at the end of the file does not belong to the
/// passphrase.
pub(crate) fn passphrase(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = read_secret_file("passphrase", file)?;
    Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
}
