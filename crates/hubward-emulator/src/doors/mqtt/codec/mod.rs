//! A strict codec for MQTT 3.1.1, written from the standard and independent of any client's. It refuses every packet
//! that the standard requires a server to refuse.

mod decode;
mod encode;
mod fields;
mod malformed;
mod packet;

pub(crate) use decode::decode;
pub(crate) use malformed::Malformed;
pub(crate) use packet::{Connect, Incoming, Outgoing, Publish, Will};

#[cfg(test)]
mod tests;
