//! Tests the DPS transport and the hub transport against a scripted server. The clock is virtual.
//!
//! The bytes of the script are copied by hand from the MQTT 3.1.1 specification. The tested codec does not encode
//! them.

mod client_certificate;
mod dps;
mod dps_answers;
mod dps_connection;
mod hub;
mod hub_certificates;
mod hub_flow;
mod hub_messages;
mod hub_twin;
mod peer;
