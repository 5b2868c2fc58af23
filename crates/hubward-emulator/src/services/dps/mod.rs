//! The DPS that devices use, independent of the door: authentication, allocation, registration.

mod admit;
mod allocate;
mod assign;
mod connection;
mod registrar;
mod response;

pub(crate) use admit::Caller;
pub(crate) use connection::DpsConnection;
pub(crate) use registrar::Registrar;
pub(crate) use response::{DpsResponse, Refusal};
