//! The id scope and the enrollment group for development. Both are the same in every emulator.

use hubward_proto::service::{Attestation, EnrollmentGroup, SymmetricKeys};

use super::enrollment::Entry;

/// The default id scope of an emulator.
pub const DEV_ID_SCOPE: &str = "0ne000DECADE";

/// Name of the enrollment group that [`Builder::dev_keys`](crate::Builder::dev_keys) creates.
pub const DEV_GROUP: &str = "hubward-dev";

/// The primary and secondary key of [`DEV_GROUP`]. This key is public and protects nothing. Use it only if no other
/// machine can reach the emulator.
pub const DEV_GROUP_KEY: &str =
    "aHVid2FyZCBlbXVsYXRvcjogdGhpcyBkZXZlbG9wbWVudCBrZXkgaXMgcHVibGljLCBuZXZlciB0cnVzdCBpdA==";

/// The group [`DEV_GROUP`] with its public keys.
pub(crate) fn dev_group() -> EnrollmentGroup {
    let mut group = EnrollmentGroup::new(DEV_GROUP);
    let keys = SymmetricKeys { primary_key: DEV_GROUP_KEY.to_owned(), secondary_key: DEV_GROUP_KEY.to_owned() };
    group.settings.attestation = Some(Attestation::symmetric_key(Some(keys)));
    group
}

/// Whether a group has the public key.
pub(crate) fn is_dev_group(entry: &Entry<EnrollmentGroup>) -> bool {
    let keys = entry.proof.keys().into_iter().flat_map(|it| [&it.primary, &it.secondary]);
    keys.into_iter().any(|it| it.expose_base64().as_str() == DEV_GROUP_KEY)
}
