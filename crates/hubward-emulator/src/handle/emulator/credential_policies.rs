//! Methods for the policies by which DPS and the hubs issue certificates.

use super::Emulator;
use crate::state::model::{CredentialPolicy, CredentialPolicyError};

impl Emulator {
    /// Adds a credential policy, or replaces the one of this name. The certificates that DPS and the hubs issue by this
    /// policy from now on are valid for `validity_period_in_days` days: 7 to 90.
    ///
    /// Every emulator has the policy [`DEFAULT_CREDENTIAL_POLICY`](crate::DEFAULT_CREDENTIAL_POLICY), with 30 days.
    ///
    /// An enrollment names its policy; see
    /// [`EnrollmentBuilder::credential_policy`](crate::EnrollmentBuilder::credential_policy). To let a certificate
    /// expire, move the clock ([`Emulator::clock_ahead`]).
    ///
    /// # Errors
    /// [`CredentialPolicyError`] if the name or the validity is not valid, or if there are already 100 policies.
    pub fn put_credential_policy(
        &self,
        name: &str,
        validity_period_in_days: u16,
    ) -> Result<CredentialPolicy, CredentialPolicyError> {
        let policy = CredentialPolicy::new(name, validity_period_in_days)?;
        self.cloud.store.change(|state| state.credential_policies.put(policy.clone()))?;
        Ok(policy)
    }

    /// The credential policies, sorted by name.
    #[must_use]
    pub fn credential_policies(&self) -> Vec<CredentialPolicy> {
        self.cloud.store.read(|state| state.credential_policies.all())
    }
}
