//! The storage layer below redb, which can hold back writes.
//!
//! redb writes to a file as soon as it opens the file. But a damaged file must not change: the operator needs it for
//! analysis and recovery.
//!
//! The emulator therefore keeps all writes of redb in memory until it has checked that the file is intact.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// Size of the file's first page in bytes.
const HEADER: u64 = 4096;

/// The storage of a database. redb and the emulator each own a clone of it. With its clone, the emulator holds back
/// writes and later releases them. A clone is cheap.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    file: Box<dyn StorageBackend>,
    /// Whether `held` is `Some`. Each read and each write of a page checks this flag first, so that it locks `held`
    /// only if writes are held back.
    is_held: AtomicBool,
    held: Mutex<Option<Held>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("file", &self.file).field("is_held", &self.is_held).finish_non_exhaustive()
    }
}

/// The writes that are held back.
#[derive(Debug)]
struct Held {
    /// Offsets and bytes, in the order of the writes.
    patches: Vec<(u64, Vec<u8>)>,
    /// The length of the file after these writes.
    length: u64,
    /// Number of bytes at the start of the file that are still valid. If redb has truncated the file, the bytes after
    /// them are no longer valid. The truncation is held back too, so the file on disk still contains those bytes.
    own: u64,
}

impl Storage {
    /// Creates storage that holds back writes until [`Storage::release`].
    pub(super) fn held(file: impl StorageBackend) -> io::Result<Self> {
        let inner = Inner { file: Box::new(file), is_held: AtomicBool::new(false), held: Mutex::default() };
        let storage = Self { inner: Arc::new(inner) };
        storage.hold()?;
        Ok(storage)
    }

    /// Starts to hold back writes.
    pub(super) fn hold(&self) -> io::Result<()> {
        let length = self.inner.file.len()?;
        *self.inner.held() = Some(Held { patches: Vec::new(), length, own: length });
        self.inner.is_held.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes everything that was held back, and stops holding back writes.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.inner.held();
        if let Some(held) = &*held {
            self.inner.write_all(held)?;
        }
        *held = None;
        self.inner.is_held.store(false, Ordering::Release);
        Ok(())
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The held-back writes; `None` if writes are not held back.
    fn if_held(&self) -> Option<MutexGuard<'_, Option<Held>>> {
        self.is_held.load(Ordering::Acquire).then(|| self.held())
    }

    /// Writes the held-back bytes to the file. Writes the header last, when all other pages are on disk, because the
    /// header selects the valid pages.
    fn write_all(&self, Held { patches, length, own }: &Held) -> io::Result<()> {
        // redb may have truncated the file and then extended it again. The bytes in between must then be zero. So first
        // truncate the file to `own`, and then extend it to `length`.
        for length in [own, length] {
            if self.file.len()? != *length {
                self.file.set_len(*length)?;
            }
        }
        for range in [HEADER..u64::MAX, 0..HEADER] {
            let mut is_written = false;
            for (offset, bytes) in patches {
                let (from, to) = (range.start.max(*offset), range.end.min(offset + bytes.len() as u64));
                if from >= to {
                    continue;
                }
                let bytes = &bytes[(from - offset) as usize..(to - offset) as usize];
                let mut before = vec![0; bytes.len()];
                self.file.read(from, &mut before)?;
                if before != *bytes {
                    self.file.write(from, bytes)?;
                    is_written = true;
                }
            }
            if is_written {
                self.file.sync_data()?;
            }
        }
        Ok(())
    }
}

impl Held {
    fn read(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(out.len() as u64);
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let own = usize::try_from(self.own.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        file.read(offset, &mut out[..own])?;
        out[own..].fill(0);
        for (at, bytes) in &self.patches {
            let (from, to) = (offset.max(*at), end.min(at + bytes.len() as u64));
            if from < to {
                let range = |start: u64| (from - start) as usize..(to - start) as usize;
                out[range(offset)].copy_from_slice(&bytes[range(*at)]);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.length = self.length.max(offset.saturating_add(bytes.len() as u64));
        self.patches.retain(|(at, before)| *at != offset || before.len() > bytes.len());
        self.patches.push((offset, bytes.to_vec()));
    }

    fn set_len(&mut self, length: u64) {
        self.length = length;
        self.own = self.own.min(length);
        self.patches.retain_mut(|(at, bytes)| {
            let kept = length.saturating_sub(*at).min(bytes.len() as u64);
            bytes.truncate(kept as usize);
            kept > 0
        });
    }
}

impl StorageBackend for Storage {
    fn len(&self) -> Result<u64, io::Error> {
        match self.inner.if_held().as_deref() {
            Some(Some(held)) => Ok(held.length),
            _ => self.inner.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        match self.inner.if_held().as_deref() {
            Some(Some(held)) => held.read(&*self.inner.file, offset, out),
            _ => self.inner.file.read(offset, out),
        }
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        match self.inner.if_held().as_deref_mut() {
            Some(Some(held)) => {
                held.set_len(length);
                Ok(())
            }
            _ => self.inner.file.set_len(length),
        }
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        match self.inner.if_held().as_deref() {
            Some(Some(_)) => Ok(()),
            _ => self.inner.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), io::Error> {
        match self.inner.if_held().as_deref_mut() {
            Some(Some(held)) => {
                held.write(offset, bytes);
                Ok(())
            }
            _ => self.inner.file.write(offset, bytes),
        }
    }

    fn close(&self) -> Result<(), io::Error> {
        self.inner.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    fn bytes(storage: &impl StorageBackend) -> Vec<u8> {
        let mut bytes = vec![0; storage.len().expect("a length") as usize];
        storage.read(0, &mut bytes).expect("read");
        bytes
    }

    #[test]
    fn held_writes_are_visible_to_reads() {
        let (plain, below) = (InMemoryBackend::new(), Arc::new(InMemoryBackend::new()));
        let held = Storage::held(Below(Arc::clone(&below))).expect("held");
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..500 {
            if rng.u8(..8) == 0 {
                let length = rng.u64(..9_000);
                plain.set_len(length).expect("set");
                held.set_len(length).expect("set");
            } else if plain.len().expect("a length") > 0 {
                let length = plain.len().expect("a length");
                let offset = rng.u64(..length);
                let some = vec![rng.u8(..); rng.u64(..(length - offset).min(700) + 1) as usize];
                plain.write(offset, &some).expect("written");
                held.write(offset, &some).expect("written");
            }
            assert!(bytes(&held) == bytes(&plain));
            if rng.u8(..40) == 0 {
                held.release().expect("written");
                assert!(bytes(&*below) == bytes(&plain));
                held.hold().expect("held");
            }
            held.sync_data().expect("nothing to do");
        }
        let before = bytes(&*below);
        held.set_len(3).expect("set");
        held.write(0, b"new").expect("written");
        assert!(bytes(&held) == b"new" && bytes(&*below) == before);
        held.read(1, &mut [0; 3]).expect_err("beyond the end");
    }

    #[derive(Debug)]
    struct Below(Arc<InMemoryBackend>);

    impl StorageBackend for Below {
        fn len(&self) -> Result<u64, io::Error> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.0.read(offset, out)
        }

        fn set_len(&self, length: u64) -> Result<(), io::Error> {
            self.0.set_len(length)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), io::Error> {
            self.0.write(offset, bytes)
        }
    }
}
