//! Tests that need several crates. The scenarios run over every transport, against the embedded emulator or a live
//! service.
//!
//! The suite (`suite.rs`) and `cargo xtask e2e` run the same scenarios.

pub mod binary;
pub mod cloud;
pub mod command;
pub mod fuzz;
pub mod idle_connections;
pub mod live_questions;
pub mod packets;
pub mod pki;
pub mod raw;
pub mod report;
pub mod scenario;
mod scenarios;

pub use scenario::{Outcome, RunResult, Scenario, Target, Transports};
pub use scenarios::ALL;
