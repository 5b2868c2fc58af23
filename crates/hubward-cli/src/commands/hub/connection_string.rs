//! `connection-string show`: prints the connection string of a device or module.

use clap::{Args, ValueEnum};
use hubward_service::model::Authentication;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::Answer;

/// One of the two keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyType {
    /// The primary key.
    #[default]
    Primary,
    /// The secondary key.
    Secondary,
}

#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// Key to use.
    #[arg(long, visible_alias = "kt", value_name = "WHICH", default_value = "primary", ignore_case = true)]
    pub(super) key_type: KeyType,
}

impl KeyArgs {
    /// The selected key of an identity.
    pub(super) fn of(&self, who: &str, authentication: Option<&Authentication>) -> Result<Zeroizing<String>, Failure> {
        let keys = authentication.and_then(|it| it.symmetric_key.as_ref());
        let key = keys.map(|it| match self.key_type {
            KeyType::Primary => &it.primary_key,
            KeyType::Secondary => &it.secondary_key,
        });
        let key = key.filter(|it| !it.is_empty()).ok_or_else(|| {
            Failure::usage(format!("{who} has no symmetric key, so it cannot sign tokens"))
                .hint("`hubward hub device-identity show` shows how it authenticates")
        })?;
        Ok(Zeroizing::new(key.clone()))
    }

    /// Returns the connection string of an identity. `ids` is `DeviceId=…`, or `DeviceId=…;ModuleId=…`.
    pub(super) fn connection_string(
        &self,
        host: &str,
        ids: &str,
        authentication: Option<&Authentication>,
    ) -> Result<Answer, Failure> {
        use hubward_service::model::AuthenticationType::{CertificateAuthority, SelfSigned};
        let kind = authentication.and_then(|it| it.kind.as_ref());
        let proof = match kind {
            Some(SelfSigned | CertificateAuthority) => Zeroizing::new("x509=true".to_owned()),
            _ => Zeroizing::new(format!("SharedAccessKey={}", self.of(ids, authentication)?.as_str())),
        };
        let text = Zeroizing::new(format!("HostName={host};{ids};{}", proof.as_str()));
        Ok(Answer::value("connectionString", &text))
    }
}
