//! What the files of a device belong to: a DPS, a registration, and credentials.

use hubward_proto::{IdScope, RegistrationId};
use hubward_transport::{Credential, SharedKey};

use super::document::{Members, hex, invalid};
use super::set_aside::{CREDENTIAL, SetAsideReason};

/// Number of bytes of a key's fingerprint. Keep it small; see [`fingerprint`].
const KEY_BYTES: usize = 2;

/// Number of hexadecimal digits of a certificate's fingerprint: half of its SHA-256 thumbprint.
const CERTIFICATE_DIGITS: usize = 32;

/// What the files of a device belong to. A file of another DPS, id scope or registration id is foreign. An assignment
/// cache is also foreign if it has no credential in common with the device.
///
/// So the cache stays valid if the device gets one more credential, or loses one of several. It does not stay valid if
/// all credentials are replaced: the device then registers, as DPS may know it under these credentials differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    dps_host: String,
    id_scope: String,
    registration_id: String,
    credentials: Vec<String>,
}

impl Binding {
    /// Creates a binding. `credentials` are all credentials of the device, in their order.
    pub(crate) fn new<'a>(
        dps_host: &str,
        id_scope: &IdScope,
        registration_id: &RegistrationId,
        credentials: impl IntoIterator<Item = &'a Credential>,
    ) -> Self {
        // Host names and registration ids have no letter case.
        let (dps_host, registration_id) =
            (dps_host.to_ascii_lowercase(), registration_id.as_str().to_ascii_lowercase());
        let id_scope = id_scope.to_string();
        let device = format!("{dps_host}\0{id_scope}\0{registration_id}");
        let mut fingerprints: Vec<String> = Vec::new();
        for credential in credentials {
            // Two credentials can have the same fingerprint, for example two signers. The second gets a number.
            let fingerprint = fingerprint(credential, &device);
            let same = |it: &&String| it.split('#').next() == Some(&fingerprint);
            let number = fingerprints.iter().filter(same).count() + 1;
            fingerprints.push(if number == 1 { fingerprint } else { format!("{fingerprint}#{number}") });
        }
        Self { dps_host, id_scope, registration_id, credentials: fingerprints }
    }

    /// Whether both are the same device at the same DPS, with any credentials.
    fn check_device(&self, other: &Self) -> Result<(), SetAsideReason> {
        let differences = [
            (self.dps_host != other.dps_host, "DPS host"),
            (self.id_scope != other.id_scope, "id scope"),
            (self.registration_id != other.registration_id, "registration id"),
        ];
        match differences.into_iter().find(|(differs, _)| *differs) {
            Some((_, difference)) => Err(SetAsideReason::Foreign { difference }),
            None => Ok(()),
        }
    }

    /// Checks the binding of a file: it must name this device, and at least one of its credentials.
    pub(super) fn check(&self, members: Option<Members>) -> Result<Members, SetAsideReason> {
        let (found, rest) = Self::take(members)?;
        self.check_device(&found)?;
        if !found.credentials.iter().any(|it| self.credentials.contains(it)) {
            return Err(SetAsideReason::Foreign { difference: CREDENTIAL });
        }
        Ok(rest)
    }

    /// Checks the binding of a file whose content does not depend on the credentials.
    pub(super) fn check_without_credentials(&self, members: Option<Members>) -> Result<Members, SetAsideReason> {
        let (found, rest) = Self::take(members)?;
        self.check_device(&found)?;
        Ok(rest)
    }

    /// The fingerprint of a credential: `position` in the list of [`Binding::new`].
    pub(super) fn fingerprint(&self, position: usize) -> Option<&str> {
        self.credentials.get(position).map(String::as_str)
    }

    /// The position of the credential with this fingerprint.
    pub(super) fn position(&self, fingerprint: &str) -> Option<usize> {
        self.credentials.iter().position(|it| it == fingerprint)
    }

    /// Writes the binding into `members`, the unknown members of an older binding.
    pub(super) fn write(&self, mut members: Members) -> Members {
        members.set_text("dpsHost", Some(self.dps_host.clone()));
        members.set_text("idScope", Some(self.id_scope.clone()));
        members.set_text("registrationId", Some(self.registration_id.clone()));
        members.set_texts("credentials", self.credentials.clone());
        members
    }

    /// Reads a binding. Also returns the members that are unknown.
    fn take(members: Option<Members>) -> Result<(Self, Members), SetAsideReason> {
        let mut members = members.ok_or_else(|| invalid("binding"))?;
        let mut text = |name| members.take_text(name).ok_or_else(|| invalid(name));
        let (dps_host, id_scope) = (text("dpsHost")?, text("idScope")?);
        let registration_id = text("registrationId")?;
        let credentials = members.take_texts("credentials").ok_or_else(|| invalid("credentials"))?;
        Ok((Self { dps_host, id_scope, registration_id, credentials }, members))
    }
}

/// A text by which a file recognizes a credential of the device.
///
/// - Of a key: the first 16 bits of the HMAC-SHA256 of `device` under the key. So few bits do not help to guess a key:
///   among all possible keys, one of 65,536 has this fingerprint. In one of 65,536 cases, a device does not notice that
///   its key was replaced. It then connects to the hub in the cache, and registers if the hub refuses. Because `device`
///   is part of the message, devices with the same key have different fingerprints.
/// - Of a certificate: the beginning of its SHA-256 thumbprint, which is not secret. A renewed certificate has another
///   fingerprint, even with the same key. DPS gives the thumbprint to the hub, so the device has to register with the
///   renewed certificate.
/// - Of a token or a signer: no more than its kind. A token is another one at each start. A signature needs the signer,
///   for example a TPM, and a start that reads a file must not depend on it. If the key of the signer was replaced, the
///   hub refuses the device, and the device registers.
fn fingerprint(credential: &Credential, device: &str) -> String {
    match credential {
        Credential::SharedKey(key) => key_fingerprint(key, device),
        Credential::Certificate(it) => {
            format!("certificate:{}", &it.leaf().sha256_thumbprint().to_ascii_lowercase()[..CERTIFICATE_DIGITS])
        }
        Credential::Signer(_) => "signer".to_owned(),
        Credential::Token(_) => "token".to_owned(),
        _ => "none".to_owned(),
    }
}

fn key_fingerprint(key: &SharedKey, device: &str) -> String {
    let signature = key.sign(format!("hubward assignment cache\0{device}").as_bytes());
    format!("key:{}", hex(&signature[..KEY_BYTES]))
}
