//! Both transports against a scripted server. The script's bytes are copied by hand from the MQTT 3.1.1
//! specification; the codec under test does not encode them. The clock is virtual.

mod dps;
mod dps_answers;
mod dps_connection;
mod hub;
mod hub_flow;
mod hub_messages;
mod hub_twin;
mod peer;
