//! Hubs that send as fast as they can, for seconds: what a command takes up, and that it still ends when
//! it is told to. The only tests that assert a time; Linux says how much memory a process had.

mod child;
mod desired;
mod messages;
mod peer;
mod warnings;
