//! The policy by which DPS issues certificates to the devices of an enrollment; a preview of the service.

use serde_json::Value;

use crate::ProtoError;
use crate::service::EnrollmentSettings;
use crate::service::http::DPS_API_VERSION;

/// The policy by which DPS issues certificates to the devices of an enrollment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificatePolicy<'a> {
    /// `credentialPolicyName`.
    Named(&'a str),
    /// `namespaceName`, `certificateAuthorityName` and `certificatePolicyName`.
    InNamespace {
        /// The namespace.
        namespace: &'a str,
        /// The authority in the namespace.
        authority: &'a str,
        /// The policy of the authority.
        policy: &'a str,
    },
}

impl CertificatePolicy<'_> {
    /// Returns the version of the DPS service API that has these members.
    ///
    /// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices service.
    #[must_use]
    pub const fn api_version(&self) -> &'static str {
        match self {
            Self::Named(_) => "2025-07-01-preview",
            Self::InNamespace { .. } => "2026-11-01",
        }
    }
}

impl EnrollmentSettings {
    /// Returns the version of the DPS service API for a request with these settings: [`DPS_API_VERSION`], or that of
    /// the certificate policy if there is one.
    #[must_use]
    pub fn api_version(&self) -> &'static str {
        let policy = self.certificate_policy().ok().flatten();
        policy.map_or(DPS_API_VERSION, |it| it.api_version())
    }

    /// Returns the policy by which DPS issues certificates to the devices, if there is one. `null` and an empty text
    /// count as absent.
    ///
    /// # Errors
    /// [`ProtoError::Unexpected`] if a name is not a text, if only a part of the names of 2026-11-01 is present, or if
    /// the names of both versions are present. The last rule is a `[guess]`.
    ///
    /// Source: `[doc]` azure-rest-api-specs, `IndividualEnrollment` of 2025-07-01-preview and 2026-11-01.
    pub fn certificate_policy(&self) -> Result<Option<CertificatePolicy<'_>>, ProtoError> {
        let wrong = |rule: &str| Err(ProtoError::Unexpected(rule.to_owned()));
        let (Ok(named), Ok(namespace), Ok(authority), Ok(policy)) = (
            name_of(self.credential_policy_name.as_ref()),
            name_of(self.namespace_name.as_ref()),
            name_of(self.certificate_authority_name.as_ref()),
            name_of(self.certificate_policy_name.as_ref()),
        ) else {
            return wrong("the name of a certificate policy, its authority or its namespace must be a text");
        };
        match (named, namespace, authority, policy) {
            (None, None, None, None) => Ok(None),
            (Some(name), None, None, None) => Ok(Some(CertificatePolicy::Named(name))),
            (None, Some(namespace), Some(authority), Some(policy)) => {
                Ok(Some(CertificatePolicy::InNamespace { namespace, authority, policy }))
            }
            (None, ..) => {
                wrong("namespaceName, certificateAuthorityName and certificatePolicyName must all be present, or none")
            }
            (Some(_), ..) => wrong("credentialPolicyName excludes the names of a certificate policy in a namespace"),
        }
    }
}

/// Returns the text of a name; `None` if the member is absent, `null` or empty. Fails if the member is not a text.
fn name_of(member: Option<&Value>) -> Result<Option<&str>, ()> {
    match member {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|it| !it.is_empty())),
        Some(_) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_names_of_a_policy_are_complete() {
        let in_namespace = CertificatePolicy::InNamespace { namespace: "n", authority: "a", policy: "p" };
        for (members, expected) in [
            (json!({}), Some(None)),
            (json!({"credentialPolicyName": "", "namespaceName": null}), Some(None)),
            (json!({"credentialPolicyName": "p"}), Some(Some(CertificatePolicy::Named("p")))),
            (
                json!({"namespaceName": "n", "certificateAuthorityName": "a", "certificatePolicyName": "p"}),
                Some(Some(in_namespace)),
            ),
            (json!({"credentialPolicyName": 7}), None),
            (json!({"namespaceName": "n", "certificateAuthorityName": "a"}), None),
            (json!({"namespaceName": "n", "certificateAuthorityName": "a", "certificatePolicyName": ""}), None),
            (json!({"certificatePolicyName": "p"}), None),
            (json!({"credentialPolicyName": "p", "namespaceName": "n"}), None),
        ] {
            let settings: EnrollmentSettings = serde_json::from_value(members.clone()).expect("settings");
            assert_eq!(settings.certificate_policy().ok(), expected, "{members}");
            let version = match expected.flatten() {
                Some(CertificatePolicy::Named(_)) => "2025-07-01-preview",
                Some(CertificatePolicy::InNamespace { .. }) => "2026-11-01",
                None => "2021-10-01",
            };
            assert_eq!(settings.api_version(), version, "{members}");
            let mut kept = members.clone();
            kept.as_object_mut().expect("members").retain(|_, it| !it.is_null());
            assert_eq!(serde_json::to_value(&settings).expect("JSON"), kept, "the members stay as they are");
        }
    }
}
