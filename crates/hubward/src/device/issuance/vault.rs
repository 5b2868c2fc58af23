//! The certificate store for async code. Each operation runs to its end on a thread for blocking work, also if its
//! future is dropped.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hubward_transport::UnixSeconds;
use hubward_x509::Certificate;

use super::super::cache::{
    Binding, CacheError, CertificateStore, FinishError, IssuedCertificate, PendingKey, SetAside, StoredCertificates,
};
use super::super::network::blocking;

/// The file with the keys and certificates of one device.
#[derive(Debug)]
pub(super) struct Vault {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    binding: Binding,
    /// `None` until the first operation.
    store: Mutex<Option<CertificateStore>>,
    /// What the store contains. Unlike `store`, nothing locks it while it writes a file.
    content: Mutex<StoredCertificates>,
}

/// What [`Vault::open`] found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) has_file: bool,
    pub(super) set_aside: Option<SetAside>,
}

impl Vault {
    /// Uses this file. Does not touch it yet.
    pub(super) fn new(path: PathBuf, binding: Binding) -> Self {
        let (store, content) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { path, binding, store, content }) }
    }

    /// Reads the file, and returns what it found. Call this once, before the other functions.
    pub(super) async fn open(&self) -> Found {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let (store, content, set_aside) = CertificateStore::open(inner.path.clone(), inner.binding.clone());
            let has_file = store.has_file();
            inner.set_content(content);
            *inner.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
            Found { has_file, set_aside }
        })
        .await
    }

    /// The certificate to use.
    pub(super) fn current(&self) -> Option<IssuedCertificate> {
        self.look(|it| it.current.clone())
    }

    /// The certificate before, until the hub has accepted the current one.
    pub(super) fn previous(&self) -> Option<IssuedCertificate> {
        self.look(|it| it.previous.clone())
    }

    /// Whether there is a key of a request without an answer.
    pub(super) fn has_pending_key(&self) -> bool {
        self.look(|it| it.pending.is_some())
    }

    /// Whether the hub may still work on a request.
    pub(super) fn has_request_at_hub(&self) -> bool {
        self.look(|it| it.pending.as_ref().is_some_and(|it| it.request_id.is_some()))
    }

    /// Looks at the content. Copies no key.
    fn look<T>(&self, look: impl FnOnce(&StoredCertificates) -> T) -> T {
        look(&self.inner.content.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// See [`CertificateStore::begin`].
    pub(super) async fn begin(&self, pending: PendingKey) -> Result<(), CacheError> {
        self.with(|store| store.begin(pending)).await
    }

    /// See [`CertificateStore::finish`].
    pub(super) async fn finish(
        &self,
        chain: Vec<Certificate>,
        now: UnixSeconds,
    ) -> Result<IssuedCertificate, FinishError> {
        self.with(move |store| store.finish(chain, now)).await
    }

    /// See [`CertificateStore::confirm`].
    pub(super) async fn confirm(&self) -> Result<(), CacheError> {
        self.with(CertificateStore::confirm).await
    }

    /// See [`CertificateStore::revert`].
    pub(super) async fn revert(&self) -> Result<(), CacheError> {
        self.with(CertificateStore::revert).await
    }

    /// See [`CertificateStore::discard_pending`].
    pub(super) async fn discard_pending(&self) -> Result<(), CacheError> {
        self.with(CertificateStore::discard_pending).await
    }

    /// See [`CertificateStore::forget`].
    pub(super) async fn forget(&self) -> Result<(), CacheError> {
        self.with(CertificateStore::forget).await
    }

    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut CertificateStore) -> T + Send + 'static) -> T {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let mut store = inner.store.lock().unwrap_or_else(PoisonError::into_inner);
            let open = || CertificateStore::open(inner.path.clone(), inner.binding.clone()).0;
            let store = store.get_or_insert_with(open);
            let result = work(store);
            inner.set_content(store.content());
            result
        })
        .await
    }
}

impl Inner {
    fn set_content(&self, content: StoredCertificates) {
        *self.content.lock().unwrap_or_else(PoisonError::into_inner) = content;
    }
}
