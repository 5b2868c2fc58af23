//! Both transports against a scripted server. The script's bytes are typed from MQTT 3.1.1 and not encoded by
//! the codec under test. The clock is virtual.

mod dps;
mod dps_answers;
mod dps_connection;
mod hub;
mod hub_flow;
mod hub_messages;
mod hub_twin;
mod peer;
