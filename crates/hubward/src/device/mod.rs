//! A device that registers, remembers its hub, and recovers.

pub(crate) mod cache;
