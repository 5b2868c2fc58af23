//! The certificates of an enrollment or group: the arguments of `create` and `update`, and the JSON that they produce.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use crate::certificate_file::CertificateFile;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct CertificateArgs {
    /// Certificate of the device, or of the authority of a group; PEM or DER.
    ///
    /// If the file contains several certificates, the command sends the first one. It never sends a private key.
    #[arg(long, value_name = "FILE", visible_alias = "cp")]
    certificate_path: Option<PathBuf>,
    /// Second certificate, for example while certificates are replaced; PEM or DER.
    #[arg(long, value_name = "FILE", visible_alias = "scp")]
    secondary_certificate_path: Option<PathBuf>,
}

/// The arguments that only a group has.
#[derive(Debug, Default, Args)]
pub(super) struct AuthorityArgs {
    /// Name of a verified CA certificate of the DPS, in place of a file.
    #[arg(long, value_name = "NAME", visible_alias = "cn", alias = "root-ca-name",
          conflicts_with_all = ["certificate_path", "secondary_certificate_path"])]
    ca_name: Option<String>,
    /// Name of a second CA certificate of the DPS.
    #[arg(long, value_name = "NAME", visible_alias = "scn", alias = "secondary-root-ca-name",
          conflicts_with_all = ["certificate_path", "secondary_certificate_path"])]
    secondary_ca_name: Option<String>,
}

/// The arguments that only `update` has.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// Remove the primary certificate.
    #[arg(long, value_name = "BOOL", visible_alias = "rc", num_args = 0..=1, default_missing_value = "true",
          conflicts_with = "certificate_path")]
    remove_certificate: Option<bool>,
    /// Remove the secondary certificate.
    #[arg(long, value_name = "BOOL", visible_alias = "rsc", num_args = 0..=1, default_missing_value = "true",
          conflicts_with = "secondary_certificate_path")]
    remove_secondary_certificate: Option<bool>,
}

impl RemoveArgs {
    pub(super) fn is_empty(&self) -> bool {
        self.remove_certificate != Some(true) && self.remove_secondary_certificate != Some(true)
    }
}

impl CertificateArgs {
    /// Reads the certificates from the files.
    pub(super) fn read(&self, authorities: &AuthorityArgs) -> Result<Certificates, Failure> {
        let one = |flag, file: &Option<PathBuf>| file.as_deref().map(|it| CertificateFile::read(flag, it)).transpose();
        Ok(Certificates {
            primary: one("--certificate-path", &self.certificate_path)?,
            secondary: one("--secondary-certificate-path", &self.secondary_certificate_path)?,
            primary_name: authorities.ca_name.clone(),
            secondary_name: authorities.secondary_ca_name.clone(),
        })
    }
}

/// The certificates from the arguments: files, or names of CA certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) primary: Option<CertificateFile>,
    secondary: Option<CertificateFile>,
    primary_name: Option<String>,
    secondary_name: Option<String>,
}

impl Certificates {
    pub(super) const fn is_empty(&self) -> bool {
        self.primary.is_none() && self.secondary.is_none() && self.has_no_names()
    }

    const fn has_no_names(&self) -> bool {
        self.primary_name.is_none() && self.secondary_name.is_none()
    }

    /// The error if a new enrollment with certificates has none.
    pub(super) fn missing(kind: Kind) -> Failure {
        Failure::usage("--attestation-type x509 needs a certificate").hint(match kind {
            Kind::Individual => "add the certificate of the device: --certificate-path FILE",
            Kind::Group => {
                "add the certificate of the authority that issues the devices' certificates: --certificate-path FILE, \
                 or the name of a CA certificate of the DPS: --ca-name NAME"
            }
        })
    }

    /// The attestation of a new enrollment.
    pub(super) fn attestation(&self, kind: Kind) -> Result<Value, Failure> {
        if self.primary.is_none() && self.primary_name.is_none() {
            return Err(Failure::usage("there is a second certificate, but no first one")
                .hint("add --certificate-path FILE, or, for a group, --ca-name NAME"));
        }
        Ok(self.applied(Map::new(), kind))
    }

    /// The attestation of an existing enrollment. `x509` contains the current certificates. A current certificate stays
    /// if no argument replaces or removes it.
    pub(super) fn over(&self, mut x509: Map<String, Value>, remove: &RemoveArgs, kind: Kind) -> Result<Value, Failure> {
        for (name, removed) in
            [("primary", remove.remove_certificate), ("secondary", remove.remove_secondary_certificate)]
        {
            if removed == Some(true) {
                for member in [member(kind), "caReferences"] {
                    if let Some(of) = x509.get_mut(member).and_then(Value::as_object_mut) {
                        of.remove(name);
                    }
                }
            }
        }
        let attestation = self.applied(x509, kind);
        let left = [member(kind), "caReferences"].into_iter().filter_map(|it| attestation["x509"][it].as_object());
        if left.into_iter().any(|it| it.get("primary").is_some_and(|it| !it.is_null())) {
            return Ok(attestation);
        }
        Err(Failure::usage("the enrollment would have no primary certificate")
            .hint("replace the certificate: --certificate-path FILE; the secondary certificate alone can be removed"))
    }

    /// Writes the certificates of the arguments into `x509`. A group has either certificates or names.
    fn applied(&self, mut x509: Map<String, Value>, kind: Kind) -> Value {
        let (ours, other) =
            if self.has_no_names() { (member(kind), "caReferences") } else { ("caReferences", member(kind)) };
        if !self.is_empty() {
            x509.remove(other);
        }
        let certificate = |it: &CertificateFile| json!({ "certificate": it.to_pem() });
        let values = [
            ("primary", self.primary.as_ref().map(certificate), &self.primary_name),
            ("secondary", self.secondary.as_ref().map(certificate), &self.secondary_name),
        ];
        for (name, certificate, authority) in values {
            if let Some(value) = certificate.or_else(|| authority.as_ref().map(|it| json!(it))) {
                let of = x509.entry(ours).or_insert_with(|| json!({}));
                if !of.is_object() {
                    *of = json!({});
                }
                of[name] = value;
            }
        }
        json!({ "type": "x509", "x509": x509 })
    }

    /// Prints a warning if a certificate belongs to another device. DPS compares the names when the device registers.
    pub(super) fn warn_about_other_name(&self, registration_id: &str) {
        for file in [&self.primary, &self.secondary].into_iter().flatten() {
            let name = file.certificate().common_name().unwrap_or_default();
            if !name.eq_ignore_ascii_case(registration_id) {
                tracing::warn!(
                    "the common name (CN) of the certificate is `{name}`, but DPS accepts only a certificate with the \
                     registration ID `{registration_id}`"
                );
            }
        }
    }
}

/// The member that holds the certificates.
const fn member(kind: Kind) -> &'static str {
    match kind {
        Kind::Individual => "clientCertificates",
        Kind::Group => "signingCertificates",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(primary: Option<&str>, secondary: Option<&str>) -> Certificates {
        let [primary_name, secondary_name] = [primary, secondary].map(|it| it.map(str::to_owned));
        Certificates { primary: None, secondary: None, primary_name, secondary_name }
    }

    fn remove(primary: bool, secondary: bool) -> RemoveArgs {
        RemoveArgs { remove_certificate: Some(primary), remove_secondary_certificate: Some(secondary) }
    }

    #[test]
    fn certificates_that_are_not_named_stay() {
        let info = |name: &str| json!({"info": {"subjectName": name}});
        let both = json!({"signingCertificates": {"primary": info("a"), "secondary": info("b")}});
        for (what, certificates, removed, before, after) in [
            ("nothing", names(None, None), remove(false, false), both.clone(), Some(both.clone())),
            (
                "one is removed",
                names(None, None),
                remove(false, true),
                both.clone(),
                Some(json!({"signingCertificates": {"primary": info("a")}})),
            ),
            ("the first is removed", names(None, None), remove(true, false), both.clone(), None),
            (
                "names replace certificates",
                names(Some("root"), None),
                remove(false, false),
                both,
                Some(json!({"caReferences": {"primary": "root"}})),
            ),
            (
                "a second name is added",
                names(None, Some("new")),
                remove(false, false),
                json!({"caReferences": {"primary": "root"}}),
                Some(json!({"caReferences": {"primary": "root", "secondary": "new"}})),
            ),
        ] {
            let expected = after.map(|it| json!({"type": "x509", "x509": it}));
            let before = before.as_object().expect("an object").clone();
            assert_eq!(certificates.over(before, &removed, Kind::Group).ok(), expected, "{what}");
        }
    }

    #[test]
    fn a_new_group_needs_a_first_authority() {
        let made = names(Some("root"), Some("other")).attestation(Kind::Group).expect("it fits");
        let expected = json!({"caReferences": {"primary": "root", "secondary": "other"}});
        assert_eq!(made, json!({"type": "x509", "x509": expected}));
        assert!(names(None, Some("other")).attestation(Kind::Group).is_err());
    }
}
