//! The arguments for the authentication of an identity. They change the JSON of the identity.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::member_path::set;
use crate::certificate_file::{CertificateFile, DeviceFiles};
use crate::failure::Failure;
use crate::keys::{Secret, from_file_or_text, new_key};

/// The methods of `az iot hub device-identity create --auth-method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AuthMethod {
    /// SAS tokens, signed with one of two keys.
    #[value(name = "shared_private_key", alias = "sas")]
    Key,
    /// A self-signed certificate, identified by its thumbprint.
    #[value(name = "x509_thumbprint")]
    Thumbprint,
    /// A certificate signed by an authority that the hub trusts.
    #[value(name = "x509_ca")]
    Authority,
}

#[derive(Debug, Args)]
pub(super) struct AuthArgs {
    /// How the identity authenticates [default: shared_private_key]
    #[arg(long, visible_alias = "am", value_name = "METHOD", ignore_case = true)]
    auth_method: Option<AuthMethod>,
    /// File with the primary key in base64; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "primary_key")]
    primary_key_file: Option<PathBuf>,
    /// File with the secondary key in base64; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "secondary_key")]
    secondary_key_file: Option<PathBuf>,
    /// Primary key in base64; visible to other users of this machine: prefer a file.
    ///
    /// If only one of the two keys is present, the command generates the other. If neither is given for a new identity
    /// that uses keys, the service generates both.
    #[arg(long, visible_alias = "pk", value_name = "BASE64")]
    primary_key: Option<Secret>,
    /// Secondary key in base64; visible to other users of this machine: prefer a file.
    #[arg(long, visible_alias = "sk", value_name = "BASE64")]
    secondary_key: Option<Secret>,
    /// Thumbprint of the primary certificate: SHA-1 or SHA-256.
    #[arg(long, visible_alias = "ptp", value_name = "HEX")]
    primary_thumbprint: Option<String>,
    /// Thumbprint of the secondary certificate: SHA-1 or SHA-256.
    #[arg(long, visible_alias = "stp", value_name = "HEX")]
    secondary_thumbprint: Option<String>,
    /// Primary certificate, in place of its thumbprint; PEM or DER.
    ///
    /// The command computes the SHA-256 thumbprint of the first certificate in the file. It sends neither the
    /// certificate nor a private key.
    #[arg(long, visible_alias = "cp", value_name = "FILE", conflicts_with = "primary_thumbprint")]
    certificate_path: Option<PathBuf>,
    /// Secondary certificate, in place of its thumbprint; PEM or DER.
    #[arg(long, visible_alias = "scp", value_name = "FILE", conflicts_with = "secondary_thumbprint")]
    secondary_certificate_path: Option<PathBuf>,
    /// Options with which az creates a certificate. The program refuses them.
    #[arg(long, aliases = ["vd", "output-dir", "od"], value_name = "DAYS", hide = true)]
    valid_days: Vec<String>,
}

impl AuthArgs {
    /// Writes the given arguments into the JSON of an identity. If this leaves the identity with only one of its two
    /// keys, generates the other key.
    ///
    /// If the identity has no authentication, sets the type `sas`. All other members stay unchanged.
    pub(super) fn apply(&self, identity: &mut Value) -> Result<(), Failure> {
        if !self.valid_days.is_empty() {
            return Err(Failure::unsupported("the `hub` commands do not create certificates").hint(
                "create one with `hubward x509 new-device`, and name its file: --certificate-path FILE; or give the \
                 thumbprint of an existing one: --primary-thumbprint HEX",
            ));
        }
        self.check()?;
        if let Some(method) = self.auth_method {
            let kind = match method {
                AuthMethod::Key => "sas",
                AuthMethod::Thumbprint => "selfSigned",
                AuthMethod::Authority => "certificateAuthority",
            };
            set(identity, "authentication.type", json!(kind))?;
            remove_unused(identity, method);
        }
        let keys = [
            ("primaryKey", "--primary-key", &self.primary_key_file, &self.primary_key),
            ("secondaryKey", "--secondary-key", &self.secondary_key_file, &self.secondary_key),
        ];
        for (name, flag, file, typed) in keys {
            if let Some(key) = from_file_or_text("key", flag, file.as_deref(), typed.as_ref())? {
                set(identity, &format!("authentication.symmetricKey.{name}"), json!(key.trim()))?;
            }
        }
        self.complete(identity)?;
        for (name, thumbprint) in self.thumbprints()? {
            if let Some(thumbprint) = thumbprint {
                set(identity, &format!("authentication.x509Thumbprint.{name}"), json!(thumbprint))?;
            }
        }
        // Type `sas` without keys makes the service generate the keys.
        if identity.get("authentication").is_none_or(Value::is_null) {
            set(identity, "authentication", json!({ "type": "sas" }))?;
        }
        Ok(())
    }

    /// The files of the device. `None` if no argument names the file of its certificate.
    pub(super) fn device_files(&self) -> Option<DeviceFiles> {
        // `apply` has reported the errors and warnings.
        let file = CertificateFile::open(self.certificate_path.as_ref()?).ok()?;
        Some(file.device_files())
    }

    /// The thumbprints from the arguments, without the colons that OpenSSL prints. Reads the files of certificates.
    fn thumbprints(&self) -> Result<[(&'static str, Option<String>); 2], Failure> {
        let one = |flag, text: &Option<String>, file: &Option<PathBuf>| -> Result<Option<String>, Failure> {
            match (text, file) {
                (Some(text), _) => Ok(Some(text.trim().replace(':', ""))),
                (None, Some(file)) => Ok(Some(CertificateFile::read(flag, file)?.certificate().sha256_thumbprint())),
                (None, None) => Ok(None),
            }
        };
        let primary = one("--certificate-path", &self.primary_thumbprint, &self.certificate_path)?;
        let secondary =
            one("--secondary-certificate-path", &self.secondary_thumbprint, &self.secondary_certificate_path)?;
        Ok([("primaryThumbprint", primary), ("secondaryThumbprint", secondary)])
    }

    /// Generates the missing key if the identity has only one of its two keys. A hub accepts two keys or none.
    fn complete(&self, identity: &mut Value) -> Result<(), Failure> {
        let keys = &identity["authentication"]["symmetricKey"];
        let lacks = |name: &str| keys[name].as_str().is_none_or(str::is_empty);
        let missing = match (lacks("primaryKey"), lacks("secondaryKey")) {
            (true, false) => "primaryKey",
            (false, true) => "secondaryKey",
            _ => return Ok(()),
        };
        set(identity, &format!("authentication.symmetricKey.{missing}"), json!(new_key()?))
    }

    /// Returns an error if a key or a thumbprint does not fit the method.
    fn check(&self) -> Result<(), Failure> {
        let has_key = self.primary_key.is_some()
            || self.secondary_key.is_some()
            || self.primary_key_file.is_some()
            || self.secondary_key_file.is_some();
        let has_thumbprint = self.primary_thumbprint.is_some()
            || self.secondary_thumbprint.is_some()
            || self.certificate_path.is_some()
            || self.secondary_certificate_path.is_some();
        let problem = match self.auth_method {
            Some(AuthMethod::Thumbprint) if has_key => "--auth-method x509_thumbprint does not use keys",
            Some(AuthMethod::Thumbprint) if !has_thumbprint => {
                "--auth-method x509_thumbprint needs --primary-thumbprint or --certificate-path"
            }
            Some(AuthMethod::Authority) if has_key || has_thumbprint => {
                "--auth-method x509_ca uses neither keys nor thumbprints nor certificate files"
            }
            Some(AuthMethod::Key) | None if has_thumbprint => {
                "a thumbprint or certificate file needs --auth-method x509_thumbprint"
            }
            _ => return Ok(()),
        };
        Err(Failure::usage(problem))
    }
}

/// Removes the keys or thumbprints that an identity with this method does not have.
fn remove_unused(identity: &mut Value, method: AuthMethod) {
    let unused: &[&str] = match method {
        AuthMethod::Key => &["x509Thumbprint"],
        AuthMethod::Thumbprint => &["symmetricKey"],
        AuthMethod::Authority => &["symmetricKey", "x509Thumbprint"],
    };
    if let Some(authentication) = identity["authentication"].as_object_mut() {
        authentication.retain(|name, _| !unused.contains(&name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        auth: AuthArgs,
    }

    fn applied(arguments: &[&str], mut identity: Value) -> Result<Value, Failure> {
        let cli = Cli::parse_from(std::iter::once("hubward").chain(arguments.iter().copied()));
        cli.auth.apply(&mut identity).map(|()| identity)
    }

    #[test]
    fn members_that_are_not_named_stay() {
        for (arguments, before, after) in [
            (&[][..], json!({}), json!({"authentication": {"type": "sas"}})),
            (&[], json!({"authentication": {"type": "none"}}), json!({"authentication": {"type": "none"}})),
            (
                &["--pk", "YQ=="],
                json!({"authentication": {"type": "sas", "symmetricKey": {"primaryKey": "x", "secondaryKey": "y"}}}),
                json!({"authentication": {"type": "sas", "symmetricKey": {"primaryKey": "YQ==", "secondaryKey": "y"}}}),
            ),
            (
                &["--am", "x509_thumbprint", "--ptp", "AB12"],
                json!({}),
                json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB12"}}}),
            ),
            (&["--am", "x509_ca"], json!({}), json!({"authentication": {"type": "certificateAuthority"}})),
            (
                &["--am", "x509_thumbprint", "--ptp", "ab:12", "--stp", "CD34"],
                json!({"authentication": {"type": "sas", "symmetricKey": {"primaryKey": "x", "secondaryKey": "y"}}}),
                json!({"authentication": {"type": "selfSigned",
                    "x509Thumbprint": {"primaryThumbprint": "ab12", "secondaryThumbprint": "CD34"}}}),
            ),
            (
                &["--am", "x509_ca"],
                json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB"}}}),
                json!({"authentication": {"type": "certificateAuthority"}}),
            ),
            (
                &["--am", "sas"],
                json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB"}}}),
                json!({"authentication": {"type": "sas"}}),
            ),
        ] {
            assert_eq!(applied(arguments, before).expect("it fits"), after, "{arguments:?}");
        }
    }

    #[test]
    fn a_missing_second_key_is_generated() {
        for flag in ["--pk", "--sk"] {
            let identity = applied(&[flag, "YQ=="], json!({})).expect("it fits");
            let keys = &identity["authentication"]["symmetricKey"];
            let of = |name: &str| keys[name].as_str().unwrap_or_default().len();
            assert_eq!(of("primaryKey").min(of("secondaryKey")), 4, "{identity}");
            assert!(of("primaryKey").max(of("secondaryKey")) > 40, "{identity}");
        }
    }

    #[test]
    fn keys_and_thumbprints_must_fit_the_method() {
        for arguments in [
            &["--am", "x509_thumbprint"][..],
            &["--am", "x509_thumbprint", "--ptp", "AB", "--pk", "YQ=="],
            &["--am", "x509_ca", "--pk", "YQ=="],
            &["--ptp", "AB"],
            &["--cp", "/no/such/file"],
            &["--am", "x509_thumbprint", "--cp", "/no/such/file"],
            &["--am", "x509_ca", "--cp", "/no/such/file"],
        ] {
            assert!(applied(arguments, json!({})).is_err(), "{arguments:?}");
        }
    }
}
