//! The certificates of `quickstart --x509`.

use std::path::{Path, PathBuf};

use hubward_emulator::Emulator;
use hubward_x509::Certificate;
use tempfile::TempDir;

use crate::commands::sas::now;
use crate::failure::Failure;
use crate::lab::{Content, Curve, Issuer, Key, Role, Validity, chain_pem, issue};
use crate::new_file::{self, Access};

/// The validity of all certificates, in days. The demo needs a few seconds, and `--keep` perhaps hours.
const DAYS: u32 = 7;

const ROOT: &str = "quickstart root";
const INTERMEDIATE: &str = "quickstart intermediate";
const GROUP: &str = "quickstart-group";

/// The files of a device with a certificate. They are deleted when this value is dropped.
#[derive(Debug)]
pub(super) struct Certificates {
    _folder: TempDir,
    chain: PathBuf,
    key: PathBuf,
    intermediate: Certificate,
}

impl Certificates {
    /// Creates a root, an intermediate authority and a device, each with a key. Writes the files of the device to a
    /// temporary folder.
    pub(super) fn create(device: &str) -> Result<Self, Failure> {
        let validity = Validity::days(now(), DAYS);
        let content = |common_name, role| Content { common_name, role, validity, alternative_names: &[] };
        let issuer =
            |certificate, key| Issuer::new(vec![certificate], key).map_err(|error| Failure::local(error.to_string()));
        let key = Key::generate(Curve::P256)?;
        let root = issuer(issue(&content(ROOT, Role::Authority), &key, None)?, key)?;
        let key = Key::generate(Curve::P256)?;
        let intermediate = issue(&content(INTERMEDIATE, Role::Authority), &key, Some(&root))?;
        let authority = issuer(intermediate.clone(), key)?;
        let key = Key::generate(Curve::P256)?;
        let leaf = issue(&content(device, Role::Device), &key, Some(&authority))?;

        let folder = TempDir::with_prefix("hubward-quickstart-");
        let folder =
            folder.map_err(|error| Failure::local(format!("a temporary folder cannot be created: {error}")))?;
        let file = |extension: &str| folder.path().join(format!("{device}.{extension}"));
        let (chain_file, key_file) = (file("pem"), file("key"));
        let pem = key.pem(None)?.unwrap_or_default();
        new_file::write(&key_file, pem.as_bytes(), Access::Private, false)?;
        let chain = chain_pem(&[leaf, intermediate.clone()]);
        new_file::write(&chain_file, chain.as_bytes(), Access::Public, false)?;
        Ok(Self { _folder: folder, chain: chain_file, key: key_file, intermediate })
    }

    /// Creates the enrollment group in the local cloud.
    pub(super) fn enroll(&self, emulator: &Emulator) -> Result<(), Failure> {
        let group = emulator.enrollment_group(GROUP);
        let created = group.create_with_certificates(&self.intermediate.to_pem(), None);
        created.map_err(|error| Failure::local_with_causes(&error))
    }

    /// The file with the device's chain, and the file with its private key.
    pub(super) fn files(&self) -> (&Path, &Path) {
        (&self.chain, &self.key)
    }

    /// The steps of the demo, one line for each.
    pub(super) fn steps(device: &str) -> [String; 5] {
        [
            format!("Created the root authority `{ROOT}`: it signs intermediate authorities."),
            format!(
                "Created the intermediate authority `{INTERMEDIATE}`: the root has signed it, and it signs devices."
            ),
            format!("Created the certificate of the device `{device}`: the intermediate authority has signed it."),
            format!("Created the enrollment group `{GROUP}`: DPS accepts every device of the intermediate authority."),
            "The device logs in with its certificate and its private key, and sends no token.".to_owned(),
        ]
    }
}
