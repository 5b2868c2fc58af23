//! The two files of a device: the assignment cache and the certificate store.

use hubward::fuzzing::{assignment_cache, certificate_store, seal};

/// An assignment cache, with or without its checksum.
pub(super) fn assignment_caches(bytes: &[u8]) -> bool {
    check(bytes, assignment_cache)
}

/// A certificate store, with or without its checksum.
pub(super) fn certificate_stores(bytes: &[u8]) -> bool {
    check(bytes, certificate_store)
}

/// Reads the bytes, and the bytes with the correct checksum.
fn check(bytes: &[u8], read: fn(&[u8]) -> Option<Vec<u8>>) -> bool {
    let mut is_accepted = false;
    for written in read(bytes).into_iter().chain(read(&seal(bytes))) {
        is_accepted = true;
        assert_eq!(read(&written).as_ref(), Some(&written), "the file can be read, and is written the same");
        let mut damaged = written.clone();
        let position = bytes.len().wrapping_mul(31) % damaged.len();
        damaged[position] ^= 1 << (bytes.len() % 8);
        assert_eq!(read(&damaged), None, "byte {position} has changed");
        assert_eq!(read(&written[..position]), None, "only {position} bytes are left");
    }
    is_accepted
}
