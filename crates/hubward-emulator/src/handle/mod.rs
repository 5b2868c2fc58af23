//! The Rust API of the emulator: the builder, and the handle of a running emulator.

pub(crate) mod builder;
pub(crate) mod emulator;
pub(crate) mod enroll;
pub(crate) mod error;
mod start;
