//! The parsers of both files without the files, for fuzz targets.

pub(crate) use super::document::seal;
use super::{Binding, assignment_cache as assignments, certificate_store as certificates};

/// Reads an assignment cache, and writes it again. `None` if it cannot be used.
pub(crate) fn assignment_cache(bytes: &[u8], binding: &Binding) -> Option<Vec<u8>> {
    let (assignment, rest) = assignments::parse(bytes, binding).ok()?;
    Some(assignments::encode(&assignment, binding, &rest).to_vec())
}

/// Reads a certificate store, and writes it again. `None` if it cannot be used.
pub(crate) fn certificate_store(bytes: &[u8], binding: &Binding) -> Option<Vec<u8>> {
    let state = certificates::parse(bytes, binding).ok()?;
    Some(certificates::encode(&state, binding).to_vec())
}
