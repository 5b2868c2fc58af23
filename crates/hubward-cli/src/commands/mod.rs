//! The commands, one file each.

pub(crate) mod device;
#[cfg(feature = "service")]
pub(crate) mod dps;
#[cfg(feature = "emulator")]
pub(crate) mod emulator;
#[cfg(feature = "service")]
pub(crate) mod hub;
#[cfg(feature = "man-pages")]
pub(crate) mod man_pages;
pub(crate) mod provision;
#[cfg(feature = "emulator")]
pub(crate) mod quickstart;
pub(crate) mod sas;
#[cfg(feature = "emulator")]
mod simulated_device;
#[cfg(feature = "x509")]
pub(crate) mod x509;
