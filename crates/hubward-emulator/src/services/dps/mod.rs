//! The device API of DPS: authentication, allocation and registration. This code does not depend on the protocol.

mod admit;
mod allocate;
mod assign;
mod connection;
mod issue;
mod registrar;
mod response;

pub(crate) use admit::Caller;
pub(crate) use connection::DpsConnection;
pub(crate) use registrar::Registrar;
pub(crate) use response::{DpsResponse, Refusal};
