//! Connects and disconnects in a loop. Prints one line of JSON: the resident memory after each measured cycle, and the
//! numbers of tasks and file descriptors before and after the measured cycles.
//!
//! The suite (`soak::cycles`) runs this program in a process of its own. So the measurements contain only the resources
//! of this program.
//!
//! Arguments: the number of cycles to warm up, and the number of cycles to measure.
//!
//! The program reads the variables of [`hubward::HubSettings::from_env`]. It reads the connection string of a second
//! device from `OTHER_CONNECTION_STRING`.

#![expect(clippy::print_stdout, reason = "the suite reads its output")]

use std::error::Error;
use std::time::Duration;

use hubward::hub::Backoff;
use hubward::{ConnectionState, HubClient, HubOptions, HubSettings, Message};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        || arguments.next().ok_or("a number of cycles is missing")?.parse().map_err(Box::<dyn Error>::from);
    let (warm_up, cycles): (usize, usize) = (number()?, number()?);

    let short = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let options = HubOptions::default().backoff(short).duplicate_wait(Duration::ZERO);
    let steady = HubSettings::from_env()?.options(|it| it.hub_options(options));
    let mut short_lived =
        HubSettings::from_connection_string(&std::env::var("OTHER_CONNECTION_STRING")?)?.transport(steady.transport);
    short_lived.options = steady.options.clone();

    let hub = steady.clone().connect().await?;
    for number in 0..warm_up {
        cycle(&hub, &short_lived, number).await?;
    }
    let (tasks, descriptors) = (tasks(), descriptors()?);
    let mut rss = Vec::with_capacity(cycles);
    for number in 0..cycles {
        cycle(&hub, &short_lived, number).await?;
        rss.push(resident()?);
    }
    let left = json!({
        "rss": rss,
        "tasks": [tasks, self::tasks()],
        "descriptors": [descriptors, self::descriptors()?],
    });
    println!("{left}");
    Ok(())
}

/// Sends a message with the client `hub`. The emulator closes the connection when it gets this message (`soak::cycles`
/// sets this fault). So the client reconnects and sends the message again.
///
/// Also connects another client, which exists only during this cycle. In even cycles, the function closes this client.
/// In odd cycles, it only drops the client.
async fn cycle(hub: &HubClient, short_lived: &HubSettings, number: usize) -> Result<(), Box<dyn Error>> {
    hub.send(Message::new("steady")).await?;
    let other = short_lived.clone().connect().await?;
    other.send(Message::new("short-lived")).await?;
    let mut state = other.state();
    if number.is_multiple_of(2) {
        other.close(Duration::from_secs(10)).await?;
    }
    drop(other);
    state.wait_for(ConnectionState::is_closed).await?;
    // The client reports `Closed` shortly before its task ends.
    while tasks() > 1 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The tasks of this program's runtime.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

fn descriptors() -> Result<usize, Box<dyn Error>> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

/// Resident memory in bytes.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
