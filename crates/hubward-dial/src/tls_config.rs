//! The TLS configuration of a device's connections.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

/// The TLS configuration of the connections of one device. [`TlsSettings::client_config`](crate::TlsSettings) makes it.
///
/// A clone shares the configuration, and with it the memory of TLS sessions.
#[derive(Clone)]
#[must_use]
pub struct TlsConfig {
    rustls: Arc<ClientConfig>,
    signs_outside: bool,
}

impl TlsConfig {
    pub(crate) fn new(rustls: ClientConfig, signs_outside: bool) -> Self {
        Self { rustls: Arc::new(rustls), signs_outside }
    }

    /// Returns the configuration of rustls.
    #[must_use]
    pub fn rustls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.rustls)
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
        f.debug_struct("TlsConfig").field("signs_outside", &self.signs_outside).finish_non_exhaustive()
    }
}
