//! The credential policies: how long the certificates are valid that DPS and the hubs issue to devices.

use std::ops::RangeInclusive;

use hubward_proto::ProtoError;
use hubward_proto::service::{CertificatePolicy, EnrollmentSettings};
use serde::{Deserialize, Serialize};

use super::Table;
use super::authorities::is_name;
use super::enroll_error::EnrollError;

/// The name of the policy that every emulator has.
///
/// Source: `[doc]` iot-hub/iot-hub-device-registry-setup.md, `--credential-policy default`.
pub const DEFAULT_CREDENTIAL_POLICY: &str = "default";

/// The validity of the policy [`DEFAULT_CREDENTIAL_POLICY`], in days.
///
/// Source: `[guess]`, from samples for Azure Device Registry.
const DEFAULT_DAYS: u16 = 30;

/// The validity that a policy can have, in days.
///
/// Source: `[doc]` iot-hub/iot-hub-certificate-management-overview.md.
const DAYS: RangeInclusive<u16> = 7..=90;

/// Maximum number of policies, without [`DEFAULT_CREDENTIAL_POLICY`].
///
/// Source: `[guess]`
const POLICIES_MAX: usize = 100;

/// Policies by name in lower case.
pub(crate) type CredentialPolicies = Table<CredentialPolicy>;

/// A policy by which DPS and the hubs issue certificates. In the service, it is an object of Azure Device Registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CredentialPolicy {
    /// The name. An enrollment names its policy. Letter case does not matter.
    pub name: String,
    /// How long a certificate is valid, in days: 7 to 90.
    pub validity_period_in_days: u16,
}

/// Why a credential policy cannot be added.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialPolicyError {
    /// The name is not valid.
    #[error("`{name}` is not a name for a credential policy: 1 to 64 letters, digits, `-`, `.` and `_`")]
    Name {
        /// The name.
        name: String,
    },
    /// The validity is out of range.
    #[error(
        "the credential policy `{name}` has a validity of {days} days; {} to {} are possible",
        DAYS.start(),
        DAYS.end()
    )]
    Validity {
        /// The name.
        name: String,
        /// The validity.
        days: u16,
    },
    /// The emulator has the maximum number of policies.
    #[error("there are already {limit} credential policies, the maximum number")]
    TooMany {
        /// The maximum number.
        limit: usize,
    },
}

hubward_proto::debug_as_error_report!(CredentialPolicyError);

impl CredentialPolicy {
    /// A policy with this name and validity.
    ///
    /// # Errors
    /// [`CredentialPolicyError`] if the name is not valid, or if `validity_period_in_days` is not 7 to 90.
    pub fn new(name: impl Into<String>, validity_period_in_days: u16) -> Result<Self, CredentialPolicyError> {
        let name = name.into();
        if !is_name(&name) {
            return Err(CredentialPolicyError::Name { name });
        }
        if !DAYS.contains(&validity_period_in_days) {
            return Err(CredentialPolicyError::Validity { name, days: validity_period_in_days });
        }
        Ok(Self { name, validity_period_in_days })
    }

    /// Checks a policy that was parsed.
    pub(super) fn check(&self) -> Result<(), CredentialPolicyError> {
        Self::new(self.name.as_str(), self.validity_period_in_days).map(|_| ())
    }

    fn default_policy() -> Self {
        Self { name: DEFAULT_CREDENTIAL_POLICY.to_owned(), validity_period_in_days: DEFAULT_DAYS }
    }
}

impl Table<CredentialPolicy> {
    /// The policy with this name.
    pub(crate) fn named(&self, name: &str) -> Option<CredentialPolicy> {
        let is_default = || name.eq_ignore_ascii_case(DEFAULT_CREDENTIAL_POLICY).then(CredentialPolicy::default_policy);
        self.get(&name.to_ascii_lowercase()).cloned().or_else(is_default)
    }

    /// All policies, sorted by name.
    pub(crate) fn all(&self) -> Vec<CredentialPolicy> {
        let mut all: Vec<_> = self.values().cloned().collect();
        if !self.contains_key(DEFAULT_CREDENTIAL_POLICY) {
            all.push(CredentialPolicy::default_policy());
        }
        all.sort_by_key(|it| it.name.to_ascii_lowercase());
        all
    }

    /// Adds a policy, or replaces the one of this name.
    pub(crate) fn put(&mut self, policy: CredentialPolicy) -> Result<(), CredentialPolicyError> {
        policy.check()?;
        let key = policy.name.to_ascii_lowercase();
        self.check_room(std::iter::once(key.as_str()))?;
        self.insert(key, policy);
        Ok(())
    }

    /// Checks that the policies with these keys can be added.
    pub(super) fn check_room<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Result<(), CredentialPolicyError> {
        let created = keys.filter(|it| !self.contains_key(it)).count();
        if created > 0 && self.len() + created > POLICIES_MAX {
            return Err(CredentialPolicyError::TooMany { limit: POLICIES_MAX });
        }
        Ok(())
    }
}

/// The name of the policy in the settings of an enrollment. The emulator has one namespace and one authority, and
/// accepts every name of them.
pub(crate) fn policy_name(settings: &EnrollmentSettings) -> Result<Option<&str>, ProtoError> {
    Ok(settings.certificate_policy()?.map(|it| match it {
        CertificatePolicy::InNamespace { policy, .. } => policy,
        CertificatePolicy::Named(name) => name,
        _ => "",
    }))
}

/// Returns an error if the settings name a policy that exists neither in the emulator nor in `also` (names in lower
/// case).
///
/// Source: `[guess]`
pub(crate) fn named_policy(
    policies: &CredentialPolicies,
    also: &[&str],
    id: &str,
    settings: &EnrollmentSettings,
) -> Result<(), EnrollError> {
    let wrong = |problem: ProtoError| EnrollError::Setting { id: id.to_owned(), problem: problem.to_string() };
    match policy_name(settings).map_err(wrong)? {
        Some(name) if policies.named(name).is_none() && !also.iter().any(|it| it.eq_ignore_ascii_case(name)) => {
            Err(EnrollError::UnknownCredentialPolicy { id: id.to_owned(), name: name.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_7_to_90_days_and_default_always_exists() {
        for (name, days, valid) in [
            ("p", 7, true),
            ("P-1.a_b", 90, true),
            ("p", 6, false),
            ("p", 91, false),
            ("", 30, false),
            ("a b", 30, false),
        ] {
            assert_eq!(CredentialPolicy::new(name, days).is_ok(), valid, "{name} {days}");
        }
        let mut policies = CredentialPolicies::default();
        let days =
            |policies: &CredentialPolicies, name: &str| policies.named(name).map(|it| it.validity_period_in_days);
        assert_eq!((days(&policies, "DEFAULT"), days(&policies, "week")), (Some(30), None));
        for (name, validity) in [("Week", 7), ("Default", 90)] {
            policies.put(CredentialPolicy::new(name, validity).expect("valid")).expect("added");
        }
        assert_eq!((days(&policies, "default"), days(&policies, "WEEK")), (Some(90), Some(7)));
        let names: Vec<_> = policies.all().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["Default", "Week"]);
        let unchecked = CredentialPolicy { name: "p".into(), validity_period_in_days: 1 };
        assert!(policies.put(unchecked).is_err(), "a policy from JSON is checked too");
        let added = (0..POLICIES_MAX)
            .filter(|it| policies.put(CredentialPolicy::new(it.to_string(), 7).expect("valid")).is_ok());
        assert_eq!(added.count(), POLICIES_MAX - 2);
    }
}
