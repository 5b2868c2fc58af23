//! The files in which a device remembers its hub and its issued certificate.
//!
//! `assignment_cache.rs` is the file of the assignment, and `certificate_store.rs` is the file of the certificate. Both
//! use a `document.rs` (JSON with a version and a checksum) in a `private_file.rs` (atomic, mode 0600). All functions
//! block, so async code calls them with `spawn_blocking`.
//!
//! No file prevents a start. A file that cannot be used is set aside (see [`SetAside`]), and the device starts without
//! it.

mod assignment_cache;
mod binding;
mod certificate_store;
mod document;
mod error;
pub(crate) mod fuzzing;
mod private_file;
mod set_aside;

#[cfg(test)]
mod tests;

pub(crate) use assignment_cache::{AssignmentCache, CachedAssignment};
pub(crate) use binding::Binding;
pub(crate) use certificate_store::{CertificateStore, FinishError, IssuedCertificate, PendingKey, StoredCertificates};
pub use error::CacheError;
pub use set_aside::{SetAside, SetAsideReason};
