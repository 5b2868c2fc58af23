//! Tests that kill a device while it registers, connects, moves and renews its certificate. The next start must reach
//! the hub. It must not register if the killed process had connected to the hub that DPS assigned, and at most once
//! otherwise. It must always be able to read its files.
//!
//! At a random moment, the test kills the program `device` with `SIGKILL`, and restarts it with the same files.
//!
//! ```sh
//! HUBWARD_KILLS=300 cargo nextest run -p hubward-tests -E 'test(device_kill)' --no-capture   # 30 by default
//! HUBWARD_KILL_SEED=7 …                                                                      # repeats the choices
//! ```

mod process;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use self::process::Process;
use self::world::World;
use crate::crash::choices;

/// How long the test waits for another line of the device before it kills the device. A device that works prints no
/// more lines.
const QUIET: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn device_kill_never_prevents_the_next_start() {
    let (kills, mut rng) = choices();
    let mut world = World::start().await;
    let (mut starts, mut registrations, mut without) = (0, 0, 0);
    // What the killed devices had done last.
    let mut kills_after = BTreeMap::<String, u32>::new();
    for round in 0..kills.div_ceil(2) {
        if rng.u8(..3) == 0 {
            world.next_device(rng.bool());
        }
        // The first start is killed at any moment.
        let mut process = Process::spawn(&world);
        let moves = rng.bool();
        for _ in 0..rng.u8(..8) {
            let line = process.next_line_within(QUIET).await;
            if moves && line.is_some_and(|it| it.starts_with("connected ")) {
                world.move_device();
            }
        }
        // Half of the kills happen within half a millisecond after a line, because the device writes its cache then.
        let longest = if rng.bool() { 500 } else { 10_000 };
        sleep(Duration::from_micros(rng.u64(..longest))).await;
        process.kill().await;
        let connected = process.connected_to();
        let last = process.lines().last().and_then(|it| it.split(' ').next()).unwrap_or("nothing");
        *kills_after.entry(last.to_owned()).or_default() += 1;

        // The second start must reach the hub. It is killed soon after that.
        let (assigned, before) = (world.assigned_hub(), world.registrations());
        let mut process = Process::spawn(&world);
        process.wait_until_connected().await;
        sleep(Duration::from_micros(rng.u64(..10_000))).await;
        process.kill().await;
        let made = world.registrations() - before;
        let lines = process.lines();
        for bad in ["set-aside", "not-written"] {
            assert!(!lines.iter().any(|it| it.starts_with(bad)), "round {round}: {lines:?}");
        }
        // A device that had connected has stored its hub before. So it needs no registration, unless it was moved.
        let needed = usize::from(assigned.is_none() || connected != assigned);
        assert!(made <= needed, "round {round}: {made} registrations, {needed} needed: {lines:?}");
        starts += 1;
        registrations += made;
        without += usize::from(made == 0);
    }
    println!(
        "{} kills; {starts} next starts with {registrations} registrations, {without} of them with none",
        2 * starts
    );
    println!("kills of the first start, after its last event: {kills_after:?}");
    println!("{} certificates from the hubs", world.renewals());
    assert!(without > 0 || starts < 10, "the cache is never used");
}
