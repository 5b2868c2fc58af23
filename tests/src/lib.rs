//! What no single crate can test alone: scenarios over every transport, against the embedded emulator
//! or a live service. The suite (`suite.rs`) and `cargo xtask e2e` run the same bodies.

pub mod binary;
pub mod cloud;
pub mod command;
pub mod crowd;
pub mod fuzz;
pub mod live_questions;
pub mod packets;
pub mod raw;
pub mod scenario;
mod scenarios;

pub use scenario::{Outcome, Over, Ran, Scenario, Target};
pub use scenarios::ALL;
