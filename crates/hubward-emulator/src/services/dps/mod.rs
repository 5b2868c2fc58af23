//! What DPS does for a device, whatever its door: authentication, allocation, registration.

mod admit;
mod allocate;
mod answer;
mod assign;
mod connection;
mod registrar;

pub(crate) use admit::Caller;
pub(crate) use answer::{Answer, Refusal};
pub(crate) use connection::DpsConnection;
pub(crate) use registrar::Registrar;
