//! The credentials of a device: a shared key, a ready-made token, an external signer, or a certificate.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use hubward_x509::ClientCertificate;

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
    /// An X.509 certificate with its chain and its private key. TLS presents the certificate, so the transport must
    /// have been built with the same certificate. The client sends no token.
    Certificate(ClientCertificate),
    /// A certificate that is not known yet: a connection string contains `x509=true`, and the program has not set the
    /// certificate. It gives no token.
    MissingCertificate,
}

impl Credential {
    /// Returns a token for `resource` that is valid until `expiry`. Returns `None` for a [`Credential::Certificate`]:
    /// the device then logs in without a token.
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
    ) -> Result<Option<SasToken>, CredentialError> {
        match self {
            Self::SharedKey(key) => Ok(Some(SasToken::sign(key, resource, expiry, policy))),
            Self::Token(token) if token.covers(resource) => Ok(Some(token.clone())),
            Self::Token(_) => Err(CredentialError::OtherResource { resource: resource.to_owned() }),
            Self::Signer(signer) => {
                let text = SasToken::string_to_sign(resource, expiry);
                let signature = signer.sign(text.as_bytes()).await?;
                Ok(Some(SasToken::from_signature(&signature, resource, expiry, policy)))
            }
            Self::Certificate(_) => Ok(None),
            Self::MissingCertificate => Err(CredentialError::MissingCertificate),
        }
    }

    /// Returns `true` if this credential can create a new token when the old one expires. Returns `false` for a
    /// certificate, which has no tokens.
    #[must_use]
    pub const fn is_renewable(&self) -> bool {
        matches!(self, Self::SharedKey(_) | Self::Signer(_))
    }

    /// Returns the certificate that TLS must present; `None` for the other credentials.
    #[must_use]
    pub const fn certificate(&self) -> Option<&ClientCertificate> {
        match self {
            Self::Certificate(certificate) => Some(certificate),
            _ => None,
        }
    }
}

impl From<SharedKey> for Credential {
    fn from(key: SharedKey) -> Self {
        Self::SharedKey(key)
    }
}

impl From<ClientCertificate> for Credential {
    fn from(certificate: ClientCertificate) -> Self {
        Self::Certificate(certificate)
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
    /// The device logs in with a certificate, and the program has not set it.
    #[error("the device logs in with a certificate, and no certificate is set")]
    MissingCertificate,
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
            let token = credential.token("hub/devices/d", expiry, Some("p")).await.expect("no error");
            token.expect("a token").expose().to_owned()
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

    #[tokio::test]
    async fn a_certificate_gives_no_token_and_no_renewal() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["dev-1".to_owned()]).expect("a name");
        let chain = params.self_signed(&key).expect("a certificate").pem();
        let certificate = ClientCertificate::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), None);
        let credential = Credential::from(certificate.expect("a pair"));
        assert!(credential.token("hub/devices/d", UnixSeconds(2), None).await.expect("no error").is_none());
        assert!(credential.certificate().is_some() && !credential.is_renewable());
        let missing = Credential::MissingCertificate;
        let error = missing.token("hub/devices/d", UnixSeconds(2), None).await.expect_err("no certificate");
        assert_eq!(error, CredentialError::MissingCertificate);
        assert!(missing.certificate().is_none() && !missing.is_renewable());
    }
}
