//! A strict codec for MQTT 3.1.1, written from the standard and independent of any client's: what
//! a server must refuse is refused.

mod decode;
mod encode;
mod fields;
mod packet;

pub(crate) use decode::{Malformed, decode};
pub(crate) use packet::{Connect, Incoming, Outgoing, Publish, Will};

#[cfg(test)]
mod tests;
