//! Reads the certificate of a device from environment variables.

use std::path::Path;

use hubward_transport::{CertificateError, ClientCertificate};
use zeroize::Zeroizing;

use crate::settings_error::Problems;
use crate::vars;

/// The certificate that the variables name.
pub(crate) enum CertificateVars {
    /// Neither file is set.
    Absent,
    /// Only one file is set, or the files cannot be used. [`Problems`] has the reason.
    Broken,
    /// The certificate.
    Read(ClientCertificate),
}

/// Returns `true` if one of the two files is set.
pub(crate) fn is_set(variable: impl Fn(&str) -> Option<String>) -> bool {
    [vars::CERT_FILE, vars::KEY_FILE].into_iter().any(|it| variable(it).is_some())
}

/// Reads the certificate and its key. Adds what is wrong to `problems`.
pub(crate) fn read(problems: &mut Problems, variable: impl Fn(&str) -> Option<String>) -> CertificateVars {
    let (chain, key) = match (variable(vars::CERT_FILE), variable(vars::KEY_FILE)) {
        (None, None) => return CertificateVars::Absent,
        (Some(chain), Some(key)) => (chain, key),
        (chain, _) => {
            problems.missing(if chain.is_none() { vars::CERT_FILE } else { vars::KEY_FILE });
            return CertificateVars::Broken;
        }
    };
    let passphrase = variable(vars::PASS_PHRASE).map(Zeroizing::new);
    let (chain, key) = (Path::new(chain.trim()), Path::new(key.trim()));
    match ClientCertificate::from_files(chain, key, passphrase.as_ref().map(|it| it.as_str())) {
        Ok(certificate) => CertificateVars::Read(certificate),
        Err(error) => {
            problems.invalid(variable_of(&error, chain, key), format!("{error}; {}", error.advice()));
            CertificateVars::Broken
        }
    }
}

/// The variable that the user has to change. `chain` and `key` are the files. If both are the same file, the
/// certificate is read first, so an error of the file itself belongs to the certificate.
fn variable_of(error: &CertificateError, chain: &Path, key: &Path) -> &'static str {
    use CertificateError as E;
    let is_of_key = |from: &str| key != chain && from == format!("`{}`", key.display());
    match error {
        E::PassphraseNeeded { .. } | E::WrongPassphrase { .. } => vars::PASS_PHRASE,
        E::File { file, .. } if file == key && key != chain => vars::KEY_FILE,
        E::NotPem { from, .. } | E::TooLarge { from, .. } if is_of_key(from) => vars::KEY_FILE,
        E::NoKey { .. }
        | E::OldEncryption { .. }
        | E::UnsupportedEncryption { .. }
        | E::UnsupportedKey { .. }
        | E::KeyMismatch { .. } => vars::KEY_FILE,
        _ => vars::CERT_FILE,
    }
}
