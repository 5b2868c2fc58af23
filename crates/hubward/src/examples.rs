//! Complete programs, one for each task. This module exists only in the documentation; the programs are in the folder
//! `examples` of the crate.
//!
//! Each program reads the settings of its device from environment variables; see
//! [`Settings::from_env`](crate::Settings::from_env). The command `hubward emulator env` prints these variables for a
//! local emulator.
//!
//! # Register and send
//!
#![doc = concat!("```rust\n", include_str!("../examples/quickstart.rs"), "```")]
//!
//! # Stay connected
//!
#![doc = concat!("```rust\n", include_str!("../examples/stay_connected.rs"), "```")]
//!
//! # Send telemetry
//!
#![doc = concat!("```rust\n", include_str!("../examples/send_telemetry.rs"), "```")]
//!
//! # Answer a method
//!
#![doc = concat!("```rust\n", include_str!("../examples/answer_a_method.rs"), "```")]
//!
//! # Follow desired properties
//!
#![doc = concat!("```rust\n", include_str!("../examples/follow_desired_properties.rs"), "```")]
//!
//! # Receive messages
//!
#![doc = concat!("```rust\n", include_str!("../examples/receive_c2d.rs"), "```")]
//!
//! # Run as a module
//!
#![doc = concat!("```rust\n", include_str!("../examples/run_as_a_module.rs"), "```")]
