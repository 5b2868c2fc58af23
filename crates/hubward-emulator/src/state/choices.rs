//! Options for behaviour that differs between the real services, or that no public trace shows.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;

/// The choices of an emulator; see [`Builder`](crate::Builder).
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// Whether a refused filter ends the connection.
    pub(crate) close_on_refused_filter: bool,
    /// The seed for the order of lists. If it is `None`, lists are in the order of ids.
    shuffle: Option<u64>,
    /// Number of lists shuffled so far.
    lists: AtomicU64,
}

impl Choices {
    pub(crate) fn new(close_on_refused_filter: bool, shuffle: Option<u64>) -> Self {
        Self { close_on_refused_filter, shuffle, lists: AtomicU64::new(0) }
    }

    /// Returns a random generator for the order of the next list. Returns `None` if lists are in the order of ids.
    ///
    /// Each list gets its own order. If the emulator starts again with the same seed, the first list again gets the
    /// first order, the second list the second order, and so on.
    pub(crate) fn next_order(&self) -> Option<Rng> {
        let seed = self.shuffle?;
        Some(rng(seed, self.lists.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Returns a random generator for the order of one list or message. `thing` is a number that identifies this list or
/// message.
pub(crate) fn rng(seed: u64, thing: u64) -> Rng {
    // Multiply to spread the numbers, because similar seeds give similar orders.
    Rng::with_seed(seed ^ thing.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Returns a hash. Its value is the same on every machine and in every release, so tests can rely on the value.
pub(crate) fn stable_hash(text: &str) -> u64 {
    let hash = fnv_1a(text.bytes());
    // Mix the upper bits into the lower bits, because the lowest bits alone are poorly distributed.
    hash ^ (hash >> 32)
}

/// FNV-1a with 64 bits.
pub(crate) fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
