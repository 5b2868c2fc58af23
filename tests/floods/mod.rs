//! Hubs that send as fast as they can for several seconds. The command must keep its memory and its log small, and
//! must end in time. These are the only tests that assert a time. They need Linux, where `/proc` shows the peak
//! memory of a process.

mod child;
mod desired;
mod messages;
mod peer;
mod warnings;
