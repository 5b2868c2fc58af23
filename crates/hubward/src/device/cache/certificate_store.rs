//! The file that keeps the issued certificate of a device, with its private key.
//!
//! The steps of one issuance, each of which replaces the whole file atomically:
//!
//! 1. [`CertificateStore::begin`] stores the new key as pending, before its request (CSR) leaves the device.
//! 2. [`CertificateStore::finish`] makes the pending key and the issued chain the current pair. The pair before it
//!    becomes the previous one.
//! 3. [`CertificateStore::confirm`] forgets the previous pair, after the hub has accepted the current one. If the hub
//!    refuses the current pair, [`CertificateStore::revert`] returns to the previous one.
//!
//! After a crash at any moment, the file has the state before or after a step.

use std::path::{Path, PathBuf};

use hubward_transport::{ClientCertificate, UnixSeconds};
use zeroize::Zeroizing;

use super::{Binding, CacheError, SetAside};

/// The file that keeps the issued certificate of a device, with its private key.
#[derive(Debug)]
pub(crate) struct CertificateStore {}

/// A private key whose certificate has been requested, or is about to be.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PendingKey {
    /// The key as PEM, PKCS#8.
    pub(crate) key: Zeroizing<String>,
    /// The id of the request (`$rid`) at the hub; `None` for a request to DPS.
    pub(crate) request_id: Option<String>,
    /// When the key was generated.
    pub(crate) created_at: UnixSeconds,
}

impl std::fmt::Debug for PendingKey {
    /// Writes the request id and the time, but not the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingKey")
            .field("request_id", &self.request_id)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// An issued certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuedCertificate {
    /// The chain and the key.
    pub(crate) certificate: ClientCertificate,
    /// When the chain was stored.
    pub(crate) issued_at: UnixSeconds,
}

/// The content of a certificate store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredCertificates {
    /// The pair to use.
    pub(crate) current: Option<IssuedCertificate>,
    /// The pair before the current one, until the hub has accepted the current one.
    pub(crate) previous: Option<IssuedCertificate>,
    /// The key of a request without an answer. The device can send the request again, with the same request id.
    pub(crate) pending: Option<PendingKey>,
}

impl CertificateStore {
    /// The file of the certificate store that belongs to an assignment cache: the cache's name and `.certificate`.
    pub(crate) fn beside(cache: &Path) -> PathBuf {
        let _ = cache;
        todo!()
    }

    /// Reads the file. Returns its content (empty if the file cannot be used), and a warning if there is a file that
    /// cannot be used. Never fails.
    ///
    /// The credentials of the binding do not matter: an issued certificate stays valid after the device got another key
    /// for DPS.
    pub(crate) fn open(path: impl Into<PathBuf>, binding: Binding) -> (Self, StoredCertificates, Option<SetAside>) {
        let _ = (path.into(), binding);
        todo!()
    }

    /// What the store contains.
    pub(crate) fn content(&self) -> &StoredCertificates {
        todo!()
    }

    /// Stores a new key, in place of the pending one if there is one. Call this before the request leaves the device.
    ///
    /// # Errors
    /// [`CacheError`]. The file and [`CertificateStore::content`] are unchanged; do not send the request.
    pub(crate) fn begin(&mut self, pending: PendingKey) -> Result<(), CacheError> {
        let _ = pending;
        todo!()
    }

    /// Makes the pending key and this chain (PEM, leaf first) the current pair, and returns it. The pair before it stays
    /// as the previous one.
    ///
    /// # Errors
    /// [`CacheError`] if there is no pending key, the chain does not belong to it, or the file cannot be written. The
    /// file and [`CertificateStore::content`] are unchanged.
    pub(crate) fn finish(&mut self, chain: &str, now: UnixSeconds) -> Result<IssuedCertificate, CacheError> {
        let _ = (chain, now);
        todo!()
    }

    /// Forgets the previous pair, because the hub has accepted the current one. Writes only if there is a previous pair.
    ///
    /// # Errors
    /// [`CacheError`]
    pub(crate) fn confirm(&mut self) -> Result<(), CacheError> {
        todo!()
    }

    /// Returns to the previous pair, because the hub has refused the current one. Without a previous pair, the store
    /// has no current pair afterwards.
    ///
    /// # Errors
    /// [`CacheError`]
    pub(crate) fn revert(&mut self) -> Result<(), CacheError> {
        todo!()
    }

    /// Forgets the pending key, because its request was refused.
    ///
    /// # Errors
    /// [`CacheError`]
    pub(crate) fn discard_pending(&mut self) -> Result<(), CacheError> {
        todo!()
    }

    /// Removes the file, if there is one.
    ///
    /// # Errors
    /// [`CacheError`]
    pub(crate) fn clear(&mut self) -> Result<(), CacheError> {
        todo!()
    }
}
