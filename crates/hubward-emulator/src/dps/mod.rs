//! The device API of DPS: authentication, the assignment of a hub, and the transports.

mod admit;
mod allocate;
mod answer;
mod assign;
mod http;
mod mqtt;
mod registrar;

pub(crate) use allocate::hash;
pub(crate) use answer::{Answer, Refusal};
pub(crate) use http::{handle as handle_http, to_http};
pub(crate) use mqtt::serve as serve_mqtt;
pub(crate) use registrar::Registrar;
