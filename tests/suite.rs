//! The conformance suite: one binary, one module per concern.

mod abuse;
mod cli;
mod conformance;
mod corpora;
mod crash;
mod examples;
mod live_questions;
#[cfg(target_os = "linux")]
mod floods;
mod readme;
mod refusals;
mod secrets;
mod service;
mod soak;
mod vectors;
mod wire;
