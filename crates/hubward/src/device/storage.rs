//! The assignment cache as the supervisor sees it: read once, and written after each assignment.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use super::cache::{AssignmentCache, Binding, CacheError, CachedAssignment, SetAside};
use super::network::blocking;

/// The assignment cache of one device.
#[async_trait]
pub(crate) trait Storage: Send + fmt::Debug {
    /// Reads the assignment. Returns a warning if there is a file that cannot be used. Never fails.
    async fn open(&mut self, binding: Binding) -> (Option<CachedAssignment>, Option<SetAside>);

    /// Replaces the assignment. `binding` is the present one; it may differ from the one of [`Storage::open`].
    ///
    /// # Errors
    /// [`CacheError`]. The assignment before stays in place.
    async fn store(&mut self, binding: Binding, assignment: CachedAssignment) -> Result<(), CacheError>;
}

/// An assignment cache in a file.
#[derive(Debug)]
pub(crate) struct FileStorage {
    path: PathBuf,
    cache: Option<AssignmentCache>,
}

impl FileStorage {
    /// Uses this file. Does not touch it yet.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, cache: None }
    }
}

#[async_trait]
impl Storage for FileStorage {
    async fn open(&mut self, binding: Binding) -> (Option<CachedAssignment>, Option<SetAside>) {
        let path = self.path.clone();
        let (cache, content, set_aside) = blocking(move || AssignmentCache::open(path, binding)).await;
        self.cache = Some(cache);
        (content, set_aside)
    }

    async fn store(&mut self, binding: Binding, assignment: CachedAssignment) -> Result<(), CacheError> {
        let (cache, path) = (self.cache.take(), self.path.clone());
        let (cache, result) = blocking(move || {
            let mut cache = match cache {
                Some(cache) => cache,
                // A write that was dropped before its end has lost the cache.
                None => AssignmentCache::open(path, binding.clone()).0,
            };
            cache.rebind(binding);
            let result = cache.store(&assignment);
            (cache, result)
        })
        .await;
        self.cache = Some(cache);
        result
    }
}

/// Remembers nothing: the device has no cache file.
#[derive(Debug)]
pub(crate) struct NoStorage;

#[async_trait]
impl Storage for NoStorage {
    async fn open(&mut self, _: Binding) -> (Option<CachedAssignment>, Option<SetAside>) {
        (None, None)
    }

    async fn store(&mut self, _: Binding, _: CachedAssignment) -> Result<(), CacheError> {
        Ok(())
    }
}
