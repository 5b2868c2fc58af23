//! Measures how long an emulator takes until it is ready, and how much memory it uses.
//!
//! There are four memory measurements: an idle emulator, idle connections, devices in the registry, and devices that
//! send.
//!
//! Fails if a measurement exceeds its limit. `cargo xtask bench emulator` runs this program with an optimised
//! `hubward`.
//!
//! Arguments: the path of `hubward`, the number of devices, and the number of seconds for which the devices send.

#![expect(clippy::print_stdout, reason = "the program prints its measurements")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use hubward::{DialOverride, HubClient, HubSettings, Message, SharedKey};
use hubward_tests::idle_connections::{IdleConnections, first_bytes};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

type Failure = Box<dyn Error + Send + Sync>;

const READY_MOST: Duration = Duration::from_millis(300);
const IDLE_MOST: u64 = 50 * 1024 * 1024;
const DEVICE_MOST: u64 = 40 * 1024;
const IDLE_CONNECTIONS: usize = 10_000;
const STARTS: usize = 20;

/// Maximum number of devices that connect at the same time.
const CONNECTING_MAX: usize = 50;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("the program is missing")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |it| it.parse());
    let (count, seconds) = (number(1000)?, number(30)?);
    let folder = std::env::temp_dir().join(format!("hubward-figures-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(Path::new(&program), &folder, count, seconds).await;
    std::fs::remove_dir_all(&folder)?;
    Ok(if measured? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(program: &Path, folder: &Path, count: usize, seconds: usize) -> Result<bool, Failure> {
    let mut within_limits = true;
    let data = folder.join("data").display().to_string();
    let on_disk = ["--data-dir", data.as_str()];
    for (name, more) in [("in memory", &["--in-memory"][..]), ("on disk", &on_disk[..])] {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let emulator = Emulator::start(program, more).await?;
            times.push(emulator.took);
            emulator.end().await?;
        }
        times.sort();
        let (median, most) = (times[STARTS / 2], times[STARTS - 1]);
        println!("ready, {name}: {median:?} median, {most:?} at most, of {STARTS} starts");
        within_limits &= ready_in_time(most);
    }

    let (seed, keys) = seed(count)?;
    let file = folder.join("seed.json");
    std::fs::write(&file, seed.to_string())?;
    let mut emulator = Emulator::start(program, &on_disk).await?;
    let idle = emulator.resident()?;
    println!("idle: {} resident", mib(idle));
    within_limits &= is_within("idle", idle, IDLE_MOST);
    let idle = open_idle_connections(&emulator).await;
    println!("with {IDLE_CONNECTIONS} idle connections: {} resident", mib(emulator.resident()?));
    drop(idle);
    emulator.end().await?;

    emulator = Emulator::start(program, &["--data-dir", &data, "--seed", &file.display().to_string()]).await?;
    println!("with {count} devices in the registry: {} resident", mib(emulator.resident()?));
    let devices = connect(&emulator, keys).await?;
    println!("with {count} devices connected: {} resident", mib(emulator.resident()?));
    let (sent, most) = send(&emulator, &devices, seconds).await?;
    println!("with {count} sending devices, {sent} messages in {seconds} s: {} resident at most", mib(most));
    within_limits &= is_within("devices", most, IDLE_MOST + count as u64 * DEVICE_MOST);
    drop(devices);
    emulator.end().await?;

    emulator = Emulator::start(program, &on_disk).await?;
    println!("ready again, with {count} devices and their messages on disk: {:?}", emulator.took);
    within_limits &= ready_in_time(emulator.took);
    emulator.end().await?;
    Ok(within_limits)
}

fn ready_in_time(took: Duration) -> bool {
    is_within("milliseconds until ready", took.as_millis() as u64, READY_MOST.as_millis() as u64)
}

/// Returns `true` if a measurement is within its limit. Otherwise prints the measurement.
fn is_within(what: &str, measured: u64, limit: u64) -> bool {
    if measured > limit {
        println!("{what}: {measured} is more than {limit}");
    }
    measured <= limit
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1024 * 1024))
}

/// A running emulator on free ports.
struct Emulator {
    child: Child,
    ready: Value,
    took: Duration,
}

impl Emulator {
    async fn start(program: &Path, more: &[&str]) -> Result<Self, Failure> {
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(["emulator", "--output", "json", "--mqtt-port", "0", "--https-port", "0", "--admin-port", "0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next_line().await?.ok_or("the emulator did not start")?;
        let took = started.elapsed();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, ready: serde_json::from_str(&line)?, took })
    }

    async fn end(mut self) -> Result<(), Failure> {
        self.child.kill().await?;
        Ok(())
    }

    fn address(&self, listener: &str) -> Result<SocketAddr, Failure> {
        Ok(self.ready[listener][0].as_str().ok_or("no address")?.parse()?)
    }

    /// Resident memory in bytes.
    fn resident(&self) -> Result<u64, Failure> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id().ok_or("the emulator has ended")?))?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }
}

async fn open_idle_connections(emulator: &Emulator) -> Option<IdleConnections> {
    let addresses = [emulator.address("mqtt").ok()?, emulator.address("https").ok()?];
    let mut idle = IdleConnections::open(&addresses, IDLE_CONNECTIONS, first_bytes::PARTIAL_CLIENT_HELLO);
    idle.all_opened().await;
    Some(idle)
}

/// Returns a seed with devices of the hub `localhost`, and the keys of these devices.
fn seed(count: usize) -> Result<(Value, Vec<String>), Failure> {
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(SharedKey::generate()?.expose_base64().to_string());
    }
    let device = |(number, key): (usize, &String)| {
        let keys = json!({ "primaryKey": key, "secondaryKey": key });
        json!({ "deviceId": format!("d{number}"), "hub": "localhost",
                "authentication": { "type": "sas", "symmetricKey": keys } })
    };
    let devices: Vec<Value> = keys.iter().enumerate().map(device).collect();
    Ok((json!({ "devices": devices }), keys))
}

async fn connect(emulator: &Emulator, keys: Vec<String>) -> Result<Vec<HubClient>, Failure> {
    let rules = DialOverride::parse_list(&format!(":8883:{}", emulator.address("mqtt")?))?;
    let ca_file = emulator.ready["caFile"].as_str().ok_or("no CA file")?.to_owned();
    let mut waiting = keys.into_iter().enumerate();
    let (mut connecting, mut devices) = (JoinSet::new(), Vec::new());
    loop {
        while connecting.len() < CONNECTING_MAX {
            let Some((number, key)) = waiting.next() else { break };
            let login = format!("HostName=localhost;DeviceId=d{number};SharedAccessKey={key}");
            let settings = HubSettings::from_connection_string(&login)?
                .options(|it| it.ca_file(&ca_file).dial_overrides(rules.clone()));
            connecting.spawn(async move { settings.connect().await });
        }
        let Some(connected) = connecting.join_next().await else { return Ok(devices) };
        devices.push(connected??);
    }
}

/// Makes each device send one message of 256 bytes per second. Returns the number of acknowledged messages, and the
/// largest resident memory of the emulator during this time.
async fn send(emulator: &Emulator, devices: &[HubClient], seconds: usize) -> Result<(usize, u64), Failure> {
    let mut every = interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut most) = (0, 0);
    for _ in 0..seconds {
        every.tick().await;
        let mut sending = JoinSet::new();
        for device in devices {
            let device = device.clone();
            sending.spawn(async move { device.send(Message::new(vec![b'x'; 256])).await });
        }
        while let Some(done) = sending.join_next().await {
            done??;
            sent += 1;
        }
        most = most.max(emulator.resident()?);
    }
    Ok((sent, most))
}
