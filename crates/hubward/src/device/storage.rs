//! The assignment cache as the supervisor sees it: read once, and written after each assignment.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::cache::{AssignmentCache, Binding, CacheError, CachedAssignment, SetAside, SetAsideReason};

/// Maximum time of one access to the file. A device must not wait for a file system that hangs.
const LIMIT: Duration = Duration::from_secs(10);

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
    access: Access,
    limit: Duration,
}

#[derive(Debug)]
enum Access {
    /// No access is running. `None` before the first one.
    Idle(Option<Box<AssignmentCache>>),
    /// An access has exceeded its limit and may still be running.
    Hangs(JoinHandle<Box<AssignmentCache>>),
}

impl FileStorage {
    /// Uses this file. Does not touch it yet.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, access: Access::Idle(None), limit: LIMIT }
    }

    /// Runs `work` on a thread for blocking work. Returns the reason if it has no result in time.
    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(PathBuf, Option<Box<AssignmentCache>>) -> (Box<AssignmentCache>, T) + Send + 'static,
    ) -> Result<T, String> {
        let idle = match std::mem::replace(&mut self.access, Access::Idle(None)) {
            Access::Idle(cache) => cache,
            Access::Hangs(task) if task.is_finished() => task.await.ok(),
            hangs @ Access::Hangs(_) => {
                self.access = hangs;
                return Err("an earlier access to the file has not ended".to_owned());
            }
        };
        let path = self.path.clone();
        let (sender, result) = tokio::sync::oneshot::channel();
        let mut task = spawn_blocking(move || {
            let (cache, result) = work(path, idle);
            // The supervisor may have stopped waiting.
            let _late = sender.send(result);
            cache
        });
        match timeout(self.limit, &mut task).await {
            Ok(ended) => {
                self.access = Access::Idle(ended.ok());
                result.await.map_err(|_| "the access to the file was aborted".to_owned())
            }
            Err(_) => {
                self.access = Access::Hangs(task);
                Err(format!("the file system did not answer within {:?}", self.limit))
            }
        }
    }
}

#[async_trait]
impl Storage for FileStorage {
    async fn open(&mut self, binding: Binding) -> (Option<CachedAssignment>, Option<SetAside>) {
        let opened = self.run(move |path, _| {
            let (cache, content, set_aside) = AssignmentCache::open(path, binding);
            (Box::new(cache), (content, set_aside))
        });
        match opened.await {
            Ok(opened) => opened,
            Err(problem) => {
                let file = self.path.clone();
                let reason = SetAsideReason::Unreadable(problem);
                (None, Some(SetAside { what: "assignment cache", file, reason, renamed_to: None }))
            }
        }
    }

    async fn store(&mut self, binding: Binding, assignment: CachedAssignment) -> Result<(), CacheError> {
        let stored = self.run(move |path, cache| {
            // If an access was dropped before its end, the cache is lost.
            let mut cache = cache.unwrap_or_else(|| Box::new(AssignmentCache::open(path, binding.clone()).0));
            cache.rebind(binding);
            let result = cache.store(&assignment);
            (cache, result)
        });
        match stored.await {
            Ok(result) => result,
            Err(problem) => Err(CacheError { what: "assignment cache", file: self.path.clone(), problem }),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_file_system_that_hangs_stops_no_device_and_takes_one_thread() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut storage = FileStorage::new(folder.path().join("a.cache"));
        storage.limit = Duration::from_millis(1);
        let (release, hang) = mpsc::channel::<()>();
        let late = storage.run(move |path, _| {
            let _released = hang.recv();
            (Box::new(AssignmentCache::open(path, binding()).0), ())
        });
        assert_eq!(late.await, Err("the file system did not answer within 1ms".to_owned()));
        let (content, warning) = storage.open(binding()).await;
        let reason = warning.map(|it| it.reason);
        let expected = SetAsideReason::Unreadable("an earlier access to the file has not ended".to_owned());
        assert_eq!((content, reason), (None, Some(expected)));
        drop(release);
        while matches!(&storage.access, Access::Hangs(task) if !task.is_finished()) {
            tokio::task::yield_now().await;
        }
        storage.limit = LIMIT;
        assert_eq!(storage.open(binding()).await, (None, None), "the file works again");
    }

    fn binding() -> Binding {
        let (scope, id) = ("0ne1".parse().expect("a scope"), "dev-1".parse().expect("an id"));
        Binding::new("dps.example", &scope, &id, [])
    }
}
