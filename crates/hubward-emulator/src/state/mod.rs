//! The state of an emulator. It consists of the store in memory and on disk, the telemetry logs, the journal, the
//! counts of messages and connections, the clock, and scripted faults.
//!
//! This module does not use the network and does not depend on a protocol.

pub(crate) mod choices;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod fault;
pub(crate) mod journal;
pub(crate) mod model;
pub(crate) mod new_file;
pub(crate) mod secret_file;
pub(crate) mod store;
pub(crate) mod telemetry;
pub(crate) mod traffic;
pub(crate) mod wire_id;
