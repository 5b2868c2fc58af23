//! The TLS configuration of a device's connections.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;

use hubward_x509::ClientCertificate;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::blocking::on_blocking_thread;

/// The number of threads on which handshakes may wait for a key outside the program.
const SIGNING_THREADS: usize = 1;

/// The TLS configuration of the connections of one device. [`TlsSettings::client_config`](crate::TlsSettings) makes it.
///
/// A clone shares the configuration, and with it the memory of TLS sessions and the thread for a slow key.
#[derive(Clone)]
#[must_use]
pub struct TlsConfig {
    rustls: Arc<ClientConfig>,
    has_certificate: bool,
    signs_outside: bool,
    /// A handshake with a key outside the program holds a permit as long as it occupies a thread.
    signing: Arc<Semaphore>,
}

impl TlsConfig {
    pub(crate) fn new(rustls: ClientConfig, identity: Option<&ClientCertificate>) -> Self {
        let signs_outside = identity.is_some_and(ClientCertificate::signs_outside);
        let signing = Arc::new(Semaphore::new(SIGNING_THREADS));
        Self { rustls: Arc::new(rustls), has_certificate: identity.is_some(), signs_outside, signing }
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
    /// with such a key with [`TlsConfig::handshake`].
    #[must_use]
    pub const fn signs_outside(&self) -> bool {
        self.signs_outside
    }

    /// Runs `connecting`, a TLS handshake that uses this configuration.
    ///
    /// If the private key is outside the program, the handshake runs on a thread for blocking work. This configuration
    /// and its clones use one such thread at a time, and the next handshake waits for the end of the previous one. So a
    /// key that hangs occupies one thread, however often the caller tries again. Set a time limit for this function:
    /// the limit then includes the waiting.
    ///
    /// # Errors
    /// The error of the handshake, or [`io::ErrorKind::Interrupted`] if the runtime is shutting down.
    ///
    /// # Cancel safety
    /// Dropping the returned future drops `connecting`. If the key is signing at this moment, the thread is free again
    /// only after the key has signed.
    ///
    /// # Panics
    /// If `connecting` panics, and outside a tokio runtime if the private key is outside the program.
    pub async fn handshake<T: Send + 'static>(
        &self,
        connecting: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        if !self.signs_outside {
            return connecting.await;
        }
        let permit = Arc::clone(&self.signing).acquire_owned().await.map_err(io::Error::other)?;
        on_blocking_thread(permit, connecting).await?
    }
}

impl fmt::Debug for TlsConfig {
    /// Writes neither the certificate nor the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rustls: _, has_certificate, signs_outside, signing: _ } = self;
        f.debug_struct("TlsConfig")
            .field("has_certificate", has_certificate)
            .field("signs_outside", signs_outside)
            .finish_non_exhaustive()
    }
}
