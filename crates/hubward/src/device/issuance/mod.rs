//! Certificates that DPS and the hub issue to the device: a preview of the service.
//!
//! `../certificate_issuance.rs` is the option. `vault.rs` is the file with the key and the certificate. `keeper.rs`
//! knows the certificate in use: the supervisor and the renewer share it. `renewer.rs` is the task that requests
//! another certificate from the hub, and `renewal.rs` is one request. The rules about time are in
//! `../lifecycle/certificate_life/`.

mod keeper;
mod renewal;
mod renewer;
#[cfg(test)]
mod tests;
mod vault;

pub(crate) use keeper::{Issued, Keeper, NotIssued, Readiness, Verdict};
pub(crate) use renewer::Renewer;
