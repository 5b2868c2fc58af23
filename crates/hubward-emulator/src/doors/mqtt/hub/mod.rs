//! The MQTT interface of a hub. It translates packets into calls of the hub's services, and results into packets.

mod calls;
mod credentials;
mod delayed;
mod deliver;
mod filters;
mod login;
mod method;
mod outbox;
mod outgoing;
mod publish;
mod session;
mod twin;

pub(super) use session::serve;
