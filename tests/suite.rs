//! The conformance suite: one binary, one module per concern.

mod conformance;
mod refusals;
mod secrets;
mod vectors;
