//! The test suite: one binary, with one module for each subject.

mod abuse;
mod certificates;
mod cli;
mod conformance;
mod corpora;
mod crash;
mod device;
mod device_kill;
mod examples;
#[cfg(target_os = "linux")]
mod floods;
mod issuance;
mod keys;
mod live_questions;
mod readme;
mod refusals;
mod secrets;
mod service;
mod soak;
mod vectors;
mod wire;
