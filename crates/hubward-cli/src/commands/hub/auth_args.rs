//! How an identity is to prove itself: the arguments, and what they make of an identity.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::device_identity::set;
use super::renew_key::new_key;
use crate::failure::Failure;
use crate::keys::{Secret, from_file_or_text};

/// The ways of `az iot hub device-identity create --auth-method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AuthMethod {
    /// Tokens, signed with one of two keys.
    #[value(name = "shared_private_key", alias = "sas")]
    Key,
    /// A certificate of its own, known by its thumbprint.
    #[value(name = "x509_thumbprint")]
    Thumbprint,
    /// A certificate of an authority that the hub trusts.
    #[value(name = "x509_ca")]
    Authority,
}

#[derive(Debug, Args)]
pub(super) struct AuthArgs {
    /// How it proves who it is [default: shared_private_key]
    #[arg(long, visible_alias = "am", value_name = "METHOD", ignore_case = true)]
    auth_method: Option<AuthMethod>,
    /// A file with its first key, base64; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "primary_key")]
    primary_key_file: Option<PathBuf>,
    /// A file with its second key, base64.
    #[arg(long, value_name = "FILE", conflicts_with = "secondary_key")]
    secondary_key_file: Option<PathBuf>,
    /// Its first key, base64; one is made if there is none. Other users of this machine can see it in
    /// the list of processes: prefer a file.
    #[arg(long, visible_alias = "pk", value_name = "BASE64")]
    primary_key: Option<Secret>,
    /// Its second key, base64.
    #[arg(long, visible_alias = "sk", value_name = "BASE64")]
    secondary_key: Option<Secret>,
    /// Thumbprint of its first certificate.
    #[arg(long, visible_alias = "ptp", value_name = "HEX")]
    primary_thumbprint: Option<String>,
    /// Thumbprint of its second certificate.
    #[arg(long, visible_alias = "stp", value_name = "HEX")]
    secondary_thumbprint: Option<String>,
    /// How az makes a certificate.
    #[arg(long, aliases = ["vd", "output-dir", "od"], value_name = "DAYS", hide = true)]
    valid_days: Vec<String>,
}

impl AuthArgs {
    /// Writes what the arguments say into the JSON of an identity; what they do not name stays.
    pub(super) fn apply(&self, identity: &mut Value) -> Result<(), Failure> {
        if !self.valid_days.is_empty() {
            return Err(Failure::unsupported("hubward makes no certificates").hint(
                "give the thumbprint of one, --primary-thumbprint, which `openssl x509 -fingerprint` shows; \
                 `az iot hub device-identity create --valid-days` makes one",
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
        let thumbprints =
            [("primaryThumbprint", &self.primary_thumbprint), ("secondaryThumbprint", &self.secondary_thumbprint)];
        for (name, thumbprint) in thumbprints {
            if let Some(thumbprint) = thumbprint {
                set(identity, &format!("authentication.x509Thumbprint.{name}"), json!(thumbprint))?;
            }
        }
        // An identity without a word about it proves itself by keys that the service makes.
        if identity.get("authentication").is_none_or(Value::is_null) {
            set(identity, "authentication", json!({ "type": "sas" }))?;
        }
        Ok(())
    }

    /// A hub takes both keys or none: the one that is not given is made, unless it is there.
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

    /// Keys are for one method, thumbprints for another.
    fn check(&self) -> Result<(), Failure> {
        let has_key = self.primary_key.is_some()
            || self.secondary_key.is_some()
            || self.primary_key_file.is_some()
            || self.secondary_key_file.is_some();
        let has_thumbprint = self.primary_thumbprint.is_some() || self.secondary_thumbprint.is_some();
        let problem = match self.auth_method {
            Some(AuthMethod::Thumbprint) if has_key => "x509_thumbprint has no keys",
            Some(AuthMethod::Thumbprint) if !has_thumbprint => "x509_thumbprint needs --primary-thumbprint",
            Some(AuthMethod::Authority) if has_key || has_thumbprint => "x509_ca has neither keys nor thumbprints",
            Some(AuthMethod::Key) | None if has_thumbprint => "a thumbprint is for --auth-method x509_thumbprint",
            _ => return Ok(()),
        };
        Err(Failure::usage(problem))
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
    fn what_is_not_named_stays() {
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
        ] {
            assert_eq!(applied(arguments, before).expect("it fits"), after, "{arguments:?}");
        }
    }

    #[test]
    fn a_key_that_is_not_given_is_made() {
        for flag in ["--pk", "--sk"] {
            let identity = applied(&[flag, "YQ=="], json!({})).expect("it fits");
            let keys = &identity["authentication"]["symmetricKey"];
            let of = |name: &str| keys[name].as_str().unwrap_or_default().len();
            assert_eq!(of("primaryKey").min(of("secondaryKey")), 4, "{identity}");
            assert!(of("primaryKey").max(of("secondaryKey")) > 40, "{identity}");
        }
    }

    #[test]
    fn keys_and_thumbprints_are_for_their_own_methods() {
        for arguments in [
            &["--am", "x509_thumbprint"][..],
            &["--am", "x509_thumbprint", "--ptp", "AB", "--pk", "YQ=="],
            &["--am", "x509_ca", "--pk", "YQ=="],
            &["--ptp", "AB"],
        ] {
            assert!(applied(arguments, json!({})).is_err(), "{arguments:?}");
        }
    }
}
