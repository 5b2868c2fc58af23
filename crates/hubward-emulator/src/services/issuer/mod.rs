//! The authority that issues certificates to devices. DPS and all hubs share it. The service has such an authority in
//! each namespace of Azure Device Registry: a root, and an intermediate that issues the certificates of the devices.

mod authority;
mod request;

pub(crate) use authority::CredentialAuthority;
pub(crate) use request::SigningRequest;
