//! Opens connections and keeps them idle until stdin ends. Prints `ready` when all connections are open.
//!
//! The program is a separate process. So the test can measure the emulator without the memory and the file descriptors
//! of this program.
//!
//! Arguments: the number of connections, the bytes to send on each connection (`nothing`, or `hello` for a part of a
//! TLS ClientHello), and the addresses of the emulator.

#![expect(clippy::print_stdout, reason = "the suite reads its output")]

use std::error::Error;
use std::io::Read as _;
use std::net::SocketAddr;

use hubward_tests::idle_connections::{IdleConnections, first_bytes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().ok_or("a number is missing")?.parse()?;
    let first = match arguments.next().as_deref() {
        Some("nothing") => first_bytes::NOTHING,
        Some("hello") => first_bytes::PARTIAL_CLIENT_HELLO,
        _ => return Err("the second argument must be `nothing` or `hello`".into()),
    };
    let addresses: Vec<SocketAddr> = arguments.map(|it| it.parse()).collect::<Result<_, _>>()?;
    let mut connections = IdleConnections::open(&addresses, count, first);
    connections.all_opened().await;
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
