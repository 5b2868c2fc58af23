//! Opens connections and leaves them alone until its stdin ends: a second process, so that file
//! descriptors and memory of the one under test are its own. Says `here` when all have come.
//!
//! Arguments: how many, `nothing` or `hello` (what each begins with), addresses.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::io::Read as _;
use std::net::SocketAddr;

use hubward_tests::crowd::{Crowd, first};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().ok_or("a number is missing")?.parse()?;
    let begin = match arguments.next().as_deref() {
        Some("nothing") => first::NOTHING,
        Some("hello") => first::HALF_A_HELLO,
        _ => return Err("it is `nothing` or `hello`".into()),
    };
    let addresses: Vec<SocketAddr> = arguments.map(|it| it.parse()).collect::<Result<_, _>>()?;
    let mut crowd = Crowd::gather(&addresses, count, begin);
    crowd.has_come().await;
    println!("here");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
