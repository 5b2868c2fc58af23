//! The policy by which DPS issues certificates to the devices of an enrollment: the arguments of `create` and `update`.

use clap::Args;
use hubward_service::model::EnrollmentSettings;
use serde_json::{Map, Value, json};

/// The member of the preview 2025-07-01.
const NAME: &str = "credentialPolicyName";

/// The members of the version 2026-11-01.
const IN_NAMESPACE: [&str; 3] = ["namespaceName", "certificateAuthorityName", "certificatePolicyName"];

#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    /// Policy by which DPS issues certificates to devices (preview); empty: none.
    #[arg(long, value_name = "NAME", conflicts_with = "adr_cert_policy_name")]
    credential_policy: Option<String>,
    /// Namespace of the policy in --adr-cert-policy-name.
    #[arg(long, value_name = "NAME", alias = "namespace-name", requires = "adr_cert_policy_name")]
    adr_namespace: Option<String>,
    /// Certificate authority of the policy in --adr-cert-policy-name.
    #[arg(long, value_name = "NAME", alias = "certificate-authority-name", requires = "adr_cert_policy_name")]
    adr_ca_name: Option<String>,
    /// Policy of a certificate authority in Azure Device Registry (preview).
    #[arg(
        long,
        value_name = "NAME",
        alias = "certificate-policy-name",
        requires_all = ["adr_namespace", "adr_ca_name"]
    )]
    adr_cert_policy_name: Option<String>,
}

impl PolicyArgs {
    /// Writes the policy into the JSON of the service. It replaces a policy of either form.
    pub(super) fn apply(&self, body: &mut Map<String, Value>) {
        let in_namespace = [&self.adr_namespace, &self.adr_ca_name, &self.adr_cert_policy_name];
        let (named, in_namespace) = match (&self.credential_policy, in_namespace) {
            (Some(name), _) => (json!(Some(name).filter(|it| !it.is_empty())), [const { Value::Null }; 3]),
            (None, names @ [Some(_), Some(_), Some(_)]) => (Value::Null, names.map(|it| json!(it))),
            _ => return,
        };
        for (member, value) in [NAME].into_iter().chain(IN_NAMESPACE).zip([named].into_iter().chain(in_namespace)) {
            // `null` removes a policy that the enrollment has.
            if !value.is_null() || body.contains_key(member) || self.credential_policy.as_deref() == Some("") {
                body.insert(member.to_owned(), value);
            }
        }
    }
}

/// Copies the policy of a body into settings. The settings then name the API version of a request with this body.
pub(super) fn copy(body: &Value, settings: &mut EnrollmentSettings) {
    let member = |name: &str| body.get(name).cloned();
    let [namespace, authority, policy] = IN_NAMESPACE.map(member);
    settings.credential_policy_name = member(NAME);
    (settings.namespace_name, settings.certificate_authority_name) = (namespace, authority);
    settings.certificate_policy_name = policy;
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn applied(before: Value, arguments: &[&str]) -> Option<Value> {
        let cli = Cli::try_parse_from(std::iter::once("create").chain(arguments.iter().copied())).ok()?;
        let Value::Object(mut body) = before else { panic!("an object") };
        cli.policy.apply(&mut body);
        Some(body.into())
    }

    #[test]
    fn a_policy_replaces_the_policy_of_the_enrollment() {
        let trio = ["--adr-namespace", "n", "--adr-ca-name", "a", "--adr-cert-policy-name", "p"];
        let names = ["--namespace-name", "n", "--certificate-authority-name", "a", "--certificate-policy-name", "p"];
        let in_namespace = json!({"namespaceName": "n", "certificateAuthorityName": "a", "certificatePolicyName": "p"});
        for (before, arguments, expected) in [
            (json!({}), &[][..], Some(json!({}))),
            (json!({}), &["--credential-policy", "week"], Some(json!({NAME: "week"}))),
            (json!({NAME: "week"}), &[], Some(json!({NAME: "week"}))),
            (json!({}), &trio, Some(in_namespace.clone())),
            (json!({}), &names, Some(in_namespace.clone())),
            (
                in_namespace.clone(),
                &["--credential-policy", "week"],
                Some(json!({
                    NAME: "week",
                    "namespaceName": null, "certificateAuthorityName": null, "certificatePolicyName": null,
                })),
            ),
            (json!({NAME: "week"}), &trio[..4], None),
            (json!({}), &["--adr-cert-policy-name", "p"], None),
            (json!({}), &["--credential-policy", "week", "--adr-cert-policy-name", "p"], None),
        ] {
            assert_eq!(applied(before, arguments), expected, "{arguments:?}");
        }
        let none = applied(json!({NAME: "week"}), &["--credential-policy", ""]).expect("valid");
        assert_eq!(none[NAME], Value::Null, "{none}");
    }

    #[test]
    fn the_policy_selects_the_api_version() {
        for (body, version) in [
            (json!({}), "2021-10-01"),
            (json!({NAME: "week"}), "2025-07-01-preview"),
            (
                json!({"namespaceName": "n", "certificateAuthorityName": "a", "certificatePolicyName": "p"}),
                "2026-11-01",
            ),
        ] {
            let mut settings = EnrollmentSettings::symmetric_key();
            copy(&body, &mut settings);
            assert_eq!(settings.api_version(), version, "{body}");
        }
    }
}
