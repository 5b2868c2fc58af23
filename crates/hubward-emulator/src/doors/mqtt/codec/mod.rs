//! A strict codec for MQTT 3.1.1. It follows the text of the standard and shares no code with any client. It refuses
//! every packet that the standard requires a server to refuse.

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
