//! Tests with hubs that send as fast as they can for several seconds. The command must use little memory, write a small
//! log, and end in time.
//!
//! These tests need Linux, because they read the peak memory of a process from `/proc`.

mod child;
mod desired;
mod messages;
mod peer;
mod warnings;
