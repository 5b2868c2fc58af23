//! A symmetric key that signs SAS tokens.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cryptoki::mechanism::{Mechanism, MechanismType};
use hubward_transport::{CredentialError, Signer};

use crate::token_key::{Kind, TokenKey};
use crate::{KeyLocation, Pkcs11Error, Place};

/// Length of an HMAC-SHA256 in bytes.
const SIGNATURE_LEN: usize = 32;

/// A symmetric key in a token, which signs SAS tokens. Pass it to `Credential::Signer`.
///
/// A clone shares the session.
#[derive(Clone)]
pub struct Pkcs11HmacKey(Arc<TokenKey>);

impl Pkcs11HmacKey {
    /// Loads the module, logs in to the token, and finds the secret key. Blocks the thread until the token answers.
    ///
    /// # Errors
    /// [`Pkcs11Error`]; it names the module, the token, the slot and the key.
    pub fn open(location: KeyLocation) -> Result<Self, Pkcs11Error> {
        let (key, ()) = TokenKey::open(location, Kind::SecretKey, |_| Ok(()))?;
        if !key.has(MechanismType::SHA256_HMAC) {
            let problem = "the token does not offer `CKM_SHA256_HMAC`".to_owned();
            return Err(Pkcs11Error::UnsupportedKey { place: Place::new(key.location()), problem });
        }
        Ok(Self(Arc::new(key)))
    }
}

#[async_trait]
impl Signer for Pkcs11HmacKey {
    /// Signs on a thread for blocking work.
    async fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_LEN], CredentialError> {
        let (key, message) = (Arc::clone(&self.0), message.to_vec());
        let signed = tokio::task::spawn_blocking(move || key.sign(&Mechanism::Sha256Hmac, &message)).await;
        let signature = match signed {
            Ok(it) => it.map_err(|error| CredentialError::Signer(error.to_string()))?,
            Err(_) => return Err(CredentialError::Signer("the runtime stopped".to_owned())),
        };
        let length = signature.len();
        let problem = || CredentialError::Signer(format!("the token returned {length} bytes as HMAC-SHA256"));
        signature.try_into().map_err(|_| problem())
    }
}

impl fmt::Debug for Pkcs11HmacKey {
    /// Writes where the key is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11HmacKey({})", Place::new(self.0.location()))
    }
}
