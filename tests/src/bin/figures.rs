//! What an emulator costs: `cargo xtask bench emulator` runs it with an optimised `hubward`. Time until
//! it is ready, memory when idle, with devices that send, and with connections that are left alone.
//! Fails if a bound is broken.
//!
//! Arguments: the program, how many devices, for how many seconds they send.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use hubward::{DialOverride, HubClient, HubSettings, Message, SharedKey};
use hubward_tests::crowd::{Crowd, first};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

type Failure = Box<dyn Error + Send + Sync>;

const READY_MOST: Duration = Duration::from_millis(300);
const IDLE_MOST: u64 = 50 * 1024 * 1024;
const DEVICE_MOST: u64 = 40 * 1024;
const CROWD: usize = 10_000;
const STARTS: usize = 20;

/// How many connect at the same time.
const AT_ONCE: usize = 50;

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
    let mut good = true;
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
        good &= ready_in_time(most);
    }

    let (seed, keys) = seed(count)?;
    let file = folder.join("seed.json");
    std::fs::write(&file, seed.to_string())?;
    let mut emulator = Emulator::start(program, &on_disk).await?;
    let idle = emulator.resident()?;
    println!("idle: {} resident", mib(idle));
    good &= bound("idle", idle, IDLE_MOST);
    let crowd = crowd(&emulator).await;
    println!("with {CROWD} connections that are left alone: {} resident", mib(emulator.resident()?));
    drop(crowd);
    emulator.end().await?;

    emulator = Emulator::start(program, &["--data-dir", &data, "--seed", &file.display().to_string()]).await?;
    println!("with {count} devices known: {} resident", mib(emulator.resident()?));
    let devices = connect(&emulator, keys).await?;
    println!("with {count} devices connected: {} resident", mib(emulator.resident()?));
    let (sent, most) = send(&emulator, &devices, seconds).await?;
    println!("with {count} devices that send, {sent} messages in {seconds} s: {} resident at most", mib(most));
    good &= bound("devices", most, IDLE_MOST + count as u64 * DEVICE_MOST);
    drop(devices);
    emulator.end().await?;

    emulator = Emulator::start(program, &on_disk).await?;
    println!("ready again, with {count} devices and their messages on disk: {:?}", emulator.took);
    good &= ready_in_time(emulator.took);
    emulator.end().await?;
    Ok(good)
}

fn ready_in_time(took: Duration) -> bool {
    bound("milliseconds until it is ready", took.as_millis() as u64, READY_MOST.as_millis() as u64)
}

fn bound(what: &str, is: u64, most: u64) -> bool {
    if is > most {
        println!("{what}: {is} is more than {most}");
    }
    is <= most
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
        let line = lines.next_line().await?.ok_or("it did not start")?;
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().ok_or("it has ended")?))?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }
}

async fn crowd(emulator: &Emulator) -> Option<Crowd> {
    let addresses = [emulator.address("mqtt").ok()?, emulator.address("https").ok()?];
    let mut crowd = Crowd::gather(&addresses, CROWD, first::HALF_A_HELLO);
    crowd.has_come().await;
    Some(crowd)
}

/// Devices of the hub `localhost`, and their keys.
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
        while connecting.len() < AT_ONCE {
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

/// Each device sends a message of 256 bytes a second; how many were acknowledged, and the most memory.
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
