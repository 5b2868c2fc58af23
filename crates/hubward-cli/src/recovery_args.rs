//! The options for a device that recovers by itself: it remembers its hub, tries a second key, and uses certificates
//! that DPS and the hub issue.

use std::path::PathBuf;

use clap::Args;
use hubward::DeviceSettings;
use hubward::device::CertificateIssuance;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::keys::read_key_file;

#[derive(Debug, Args)]
pub(crate) struct RecoveryArgs {
    /// File that stores the hub; the next start skips DPS [env: HUBWARD_CACHE_FILE]
    ///
    /// The command creates the file, so it must be able to create files in the folder. The file contains no secret.
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    /// File with a second key, to try after a refusal; `-` reads standard input.
    ///
    /// The key is in base64, such as the secondary key of the enrollment. [env: HUBWARD_SECONDARY_KEY, the key itself]
    #[arg(long, value_name = "FILE")]
    secondary_key_file: Option<PathBuf>,
    /// Preview: use certificates that DPS and the hub issue; keep them in FILE.
    ///
    /// The device sends a certificate request with each registration, uses the issued certificate at its hub, and
    /// renews it there. The command creates the file, which contains private keys. Only the user who runs the command
    /// can read it.
    #[arg(long, value_name = "FILE")]
    issued_certificate: Option<PathBuf>,
}

impl RecoveryArgs {
    /// Whether one of the options is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.cache.is_some() || self.secondary_key_file.is_some() || self.issued_certificate.is_some()
    }

    /// Whether standard input holds the second key.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.secondary_key_file.as_ref().is_some_and(|it| it.as_os_str() == "-")
    }

    /// Reads the second key, if an option names its file.
    pub(crate) fn secondary_key(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        self.secondary_key_file.as_deref().map(read_key_file).transpose()
    }

    /// Adds the files to the settings that come from the variables.
    pub(crate) fn apply(&self, device: &mut DeviceSettings) {
        if self.cache.is_some() {
            device.cache.clone_from(&self.cache);
        }
        device.certificate_issuance = self.issued_certificate.as_ref().map(CertificateIssuance::new);
    }
}
