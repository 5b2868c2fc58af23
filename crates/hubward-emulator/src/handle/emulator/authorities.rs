//! Methods for the CA certificates of DPS and the hubs.

use super::Emulator;
use crate::state::model::{AuthorityError, AuthorityView, read_authority};

impl Emulator {
    /// Adds a CA certificate, or replaces the one of this name. The text is PEM, or the base64 of DER. DPS and all hubs
    /// use the same CA certificates:
    ///
    /// * An enrollment group can name the certificate; see
    ///   [`create_with_authorities`](crate::EnrollmentGroupBuilder::create_with_authorities).
    /// * A hub accepts the certificates that it has issued, for devices of the type `certificateAuthority`; see
    ///   [`Emulator::add_ca_signed_device`].
    ///
    /// Devices can use the certificate only if `is_verified` is true. In the real service, the operator first proves
    /// that they hold the key of the certificate.
    ///
    /// # Errors
    /// [`AuthorityError`] if the name or the certificate is not valid, or if there are already 25 CA certificates.
    pub fn add_authority(
        &self,
        name: &str,
        certificate: &str,
        is_verified: bool,
    ) -> Result<AuthorityView, AuthorityError> {
        let certificate = read_authority(name, certificate)?;
        let now = self.cloud.clock.now();
        let added = self.cloud.store.change(|state| state.put_authority(name, &certificate, is_verified, now))?;
        Ok(added.view())
    }

    /// The CA certificates, sorted by name.
    #[must_use]
    pub fn authorities(&self) -> Vec<AuthorityView> {
        self.cloud.store.read(|state| state.authorities.values().map(|it| it.view()).collect())
    }

    /// Deletes a CA certificate. Does not change the enrollment groups that name it: their devices are then refused.
    /// Returns whether the certificate existed.
    pub fn delete_authority(&self, name: &str) -> bool {
        self.cloud.store.change(|state| state.authorities.remove(&name.to_ascii_lowercase()).is_some())
    }
}
