//! One file a command.

pub(crate) mod device;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
pub(crate) mod provision;
#[cfg(feature = "emulator")]
pub(crate) mod quickstart;
pub(crate) mod sas;
