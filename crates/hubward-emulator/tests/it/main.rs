//! Tests of the emulator over real sockets. They write the bytes by hand over rustls, and do not use hubward's
//! clients.

mod abuse;
#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "admin")]
mod admin_certificates;
#[cfg(feature = "admin")]
mod admin_device;
#[cfg(feature = "admin")]
mod admin_faults;
#[cfg(feature = "admin")]
mod admin_guard;
#[cfg(feature = "admin")]
mod admin_messages;
#[cfg(feature = "admin")]
mod admin_simulated;
#[cfg(feature = "admin")]
mod admin_stream;
mod client;
mod damage;
mod dps_https;
mod dps_mqtt;
mod events;
mod evidence;
mod evidence_service;
mod faults;
mod hub;
mod hub_faults;
mod incidents;
mod issuance;
mod issuance_dps;
mod issuance_hub;
mod issuance_lifetime;
mod lab;
mod messages;
mod methods;
mod modules;
mod query;
mod restart;
mod service_dps;
mod service_dps_outcomes;
mod service_hub;
mod service_hub_bulk;
mod service_hub_twins;
mod service_x509;
mod state;
mod tls;
mod twins;
mod websocket;
mod x509;
mod x509_client;
mod x509_tls;
