//! The TLS configuration of a device's connections.

use std::fmt;
use std::sync::Arc;

use hubward_x509::ClientCertificate;
use rustls::ClientConfig;

/// The TLS configuration of the connections of one device. [`TlsSettings::client_config`](crate::TlsSettings) makes it.
///
/// A clone shares the configuration, and with it the memory of TLS sessions.
#[derive(Clone)]
#[must_use]
pub struct TlsConfig {
    rustls: Arc<ClientConfig>,
    has_certificate: bool,
    signs_outside: bool,
}

impl TlsConfig {
    pub(crate) fn new(rustls: ClientConfig, identity: Option<&ClientCertificate>) -> Self {
        let signs_outside = identity.is_some_and(ClientCertificate::signs_outside);
        Self { rustls: Arc::new(rustls), has_certificate: identity.is_some(), signs_outside }
    }

    /// Returns the configuration of rustls.
    #[must_use]
    pub fn rustls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.rustls)
    }

    /// Returns `true` if the client presents a certificate to a server that asks for one.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        self.has_certificate
    }

    /// Returns `true` if the private key is outside the program, so that a signature may take long. Run a handshake
    /// with such a key on a thread for blocking work ([`on_blocking_thread`](crate::on_blocking_thread)).
    #[must_use]
    pub const fn signs_outside(&self) -> bool {
        self.signs_outside
    }
}

impl fmt::Debug for TlsConfig {
    /// Writes neither the certificate nor the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rustls: _, has_certificate, signs_outside } = self;
        f.debug_struct("TlsConfig")
            .field("has_certificate", has_certificate)
            .field("signs_outside", signs_outside)
            .finish_non_exhaustive()
    }
}
