//! The credentials of a device: a shared key, a ready-made token, or an external signer.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hubward_sas::{SasToken, SharedKey, UnixSeconds};

/// The credential of a device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A symmetric key: an individual key, or one derived from a group key.
    SharedKey(SharedKey),
    /// A signer that holds the key and signs for the device, such as a TPM or a key daemon.
    Signer(Arc<dyn Signer>),
    /// A ready-made token, used until it expires. The client cannot renew it.
    Token(SasToken),
}

impl Credential {
    /// Returns a token for `resource` that is valid until `expiry`.
    ///
    /// For a [`Credential::Token`], `expiry` and `policy` have no effect. The token is returned unchanged if it covers
    /// the resource.
    ///
    /// # Errors
    /// [`CredentialError`]. Its `Display` output contains no secret.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call to the signer, if there is one. It has no other effect.
    pub async fn token(
        &self,
        resource: &str,
        expiry: UnixSeconds,
        policy: Option<&str>,
    ) -> Result<SasToken, CredentialError> {
        match self {
            Self::SharedKey(key) => Ok(SasToken::sign(key, resource, expiry, policy)),
            Self::Token(token) if token.covers(resource) => Ok(token.clone()),
            Self::Token(_) => Err(CredentialError::OtherResource { resource: resource.to_owned() }),
            Self::Signer(signer) => {
                let text = SasToken::string_to_sign(resource, expiry);
                let signature = signer.sign(text.as_bytes()).await?;
                Ok(SasToken::from_signature(&signature, resource, expiry, policy))
            }
        }
    }

    /// Returns `true` if this credential can create a new token when the old one expires.
    #[must_use]
    pub const fn is_renewable(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

/// Signs with a key that the program cannot read.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// Returns the HMAC-SHA256 of `message` under the device's key.
    ///
    /// # Errors
    /// [`CredentialError::Signer`] with the error text of the TPM or key daemon. The implementation must not put a
    /// secret into this text.
    async fn sign(&self, message: &[u8]) -> Result<[u8; hubward_sas::SIGNATURE_LEN], CredentialError>;
}

/// Why a credential gave no token.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The ready-made token does not cover the resource.
    #[error("the SAS token given is not for `{resource}`")]
    OtherResource {
        /// The resource that the token must cover.
        resource: String,
    },
    /// The signer could not sign.
    #[error("the signer could not sign: {0}")]
    Signer(String),
}

hubward_proto::debug_as_error_report!(CredentialError);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Daemon(SharedKey);

    #[async_trait]
    impl Signer for Daemon {
        async fn sign(&self, message: &[u8]) -> Result<[u8; hubward_sas::SIGNATURE_LEN], CredentialError> {
            Ok(self.0.sign(message))
        }
    }

    #[tokio::test]
    async fn a_signer_and_its_key_make_the_same_token() {
        let key = SharedKey::generate().expect("randomness");
        let expiry = UnixSeconds(1_700_003_600);
        let of = async |credential: Credential| {
            credential.token("hub/devices/d", expiry, Some("p")).await.expect("a token").expose().to_owned()
        };
        let direct = of(Credential::SharedKey(key.clone())).await;
        assert_eq!(of(Credential::Signer(Arc::new(Daemon(key)))).await, direct);
    }

    #[tokio::test]
    async fn a_ready_made_token_must_cover_the_resource() {
        let token = SasToken::sign(&SharedKey::generate().expect("randomness"), "hub/devices/d", UnixSeconds(1), None);
        let credential = Credential::Token(token);
        assert!(credential.token("hub/devices/d", UnixSeconds(2), None).await.is_ok());
        let error = credential.token("hub/devices/e", UnixSeconds(2), None).await.expect_err("another device");
        assert_eq!(error.to_string(), "the SAS token given is not for `hub/devices/e`");
        assert!(!credential.is_renewable());
    }
}
