//! How a device proves who it is: a shared key, a ready token, or a signer elsewhere.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hubward_sas::{SasToken, SharedKey, UnixSeconds};

/// What a device proves itself with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A symmetric key: individual, or derived from a group's.
    SharedKey(SharedKey),
    /// Somebody who holds the key and signs for us: a TPM, a key daemon.
    Signer(Arc<dyn Signer>),
    /// A token made elsewhere, used until it expires; it cannot be renewed.
    Token(SasToken),
}

impl Credential {
    /// A token for `resource`, good until `expiry`. A ready [`Credential::Token`] is handed out as
    /// it is if it covers the resource.
    ///
    /// # Errors
    /// [`CredentialError`]; its `Display` says what is wrong without the secret.
    ///
    /// # Cancel safety
    /// Dropping the future drops the request to the signer; nothing else changes.
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

    /// Whether a new token can be made when one expires.
    #[must_use]
    pub const fn is_renewable(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

/// Signs with a key that never leaves its place.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// HMAC-SHA256 of `message` under the device's key.
    ///
    /// # Errors
    /// [`CredentialError::Signer`] with what the device or daemon said; no secret.
    async fn sign(&self, message: &[u8]) -> Result<[u8; hubward_sas::SIGNATURE_LEN], CredentialError>;
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// A ready token is for something else.
    #[error("the SAS token given is not for `{resource}`")]
    OtherResource {
        /// What it would have to be for.
        resource: String,
    },
    /// The signer could not sign.
    #[error("the signer could not sign: {0}")]
    Signer(String),
}

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
    async fn a_signer_makes_the_same_token_as_the_key() {
        let key = SharedKey::generate().expect("randomness");
        let expiry = UnixSeconds(1_700_003_600);
        let of = async |credential: Credential| {
            credential.token("hub/devices/d", expiry, Some("p")).await.expect("a token").expose().to_owned()
        };
        let direct = of(Credential::SharedKey(key.clone())).await;
        assert_eq!(of(Credential::Signer(Arc::new(Daemon(key)))).await, direct);
    }

    #[tokio::test]
    async fn a_ready_token_must_cover_the_resource() {
        let token = SasToken::sign(&SharedKey::generate().expect("randomness"), "hub/devices/d", UnixSeconds(1), None);
        let credential = Credential::Token(token);
        assert!(credential.token("hub/devices/d", UnixSeconds(2), None).await.is_ok());
        let error = credential.token("hub/devices/e", UnixSeconds(2), None).await.expect_err("another device");
        assert_eq!(error.to_string(), "the SAS token given is not for `hub/devices/e`");
        assert!(!credential.is_renewable());
    }
}
