//! `devices`: measures the memory of an idle `Device`, beside a plain client of the hub.
//!
//! Each measurement runs in a new process of one thread, with an emulator of its own: memory that an earlier run has
//! freed would hide the difference. Both kinds register with DPS, so the emulator keeps the same state for both.

use std::error::Error;
use std::fmt;
use std::process::Stdio;

use hubward::{Device, HubClient, Settings};
use hubward_emulator::Emulator;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::measure::median;
use crate::memory;

/// Number of devices before the measured ones. They allocate what all devices share.
const FIRST: u32 = 20;

/// Maximum memory of a `Device` over the client that it contains, in KiB.
const OVERHEAD_MAX: f64 = 2.0;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Number of measurements of each kind; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// Number of idle devices of one measurement
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) devices: u32,
}

/// What a process connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Clients, with `Settings::connect`.
    Client,
    /// Devices, with `DeviceSettings::connect`.
    Device,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Device => "device",
        }
    }
}

/// The memory per idle device in KiB, with the memory of its connection at the emulator. One sample per round.
#[derive(Debug)]
pub(crate) struct Report {
    rounds: u16,
    devices: u32,
    clients: Vec<f64>,
    supervised: Vec<f64>,
}

/// Does all measurements. Calls `at_round` when a round begins.
///
/// # Errors
/// A process fails, or the system does not report the memory.
pub(crate) async fn run(options: &Options, mut at_round: impl FnMut(u16)) -> Result<Report> {
    let Options { rounds, devices } = *options;
    let mut report = Report { rounds, devices, clients: Vec::new(), supervised: Vec::new() };
    for round in 1..=rounds {
        at_round(round);
        report.clients.push(measure(Kind::Client, devices).await?);
        report.supervised.push(measure(Kind::Device, devices).await?);
    }
    Ok(report)
}

/// Runs as a child process: connects the devices, and prints the memory of one device in KiB.
///
/// # Errors
/// A device cannot connect, or the system does not report the memory.
pub(crate) async fn run_child(kind: Kind, devices: u32) -> Result<f64> {
    let emulator = Emulator::start().await?;
    let mut connected = Vec::new();
    for number in 0..FIRST {
        connected.push(connect(&emulator, kind, &format!("first-{number}")).await?);
    }
    let before = memory::resident_kib().ok_or("the system does not report the memory")?;
    for number in 0..devices {
        connected.push(connect(&emulator, kind, &format!("d{number}")).await?);
    }
    let after = memory::resident_kib().ok_or("the system does not report the memory")?;
    if let Some(lost) = connected.iter().find(|it| !it.client().state().borrow().is_connected()) {
        return Err(format!("a device has lost its connection: {lost:?}").into());
    }
    Ok((after as f64 - before as f64) / f64::from(devices))
}

async fn measure(kind: Kind, devices: u32) -> Result<f64> {
    let child = Command::new(std::env::current_exe()?)
        .args(["idle-devices", "--kind", kind.name(), "--devices", &devices.to_string()])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !child.status.success() {
        return Err(format!("the process of the {}s failed", kind.name()).into());
    }
    Ok(String::from_utf8(child.stdout)?.trim().parse()?)
}

/// A connected device of either kind.
#[derive(Debug)]
enum Connected {
    Client(HubClient),
    Device(Device),
}

impl Connected {
    const fn client(&self) -> &HubClient {
        match self {
            Self::Client(client) => client,
            Self::Device(device) => device.hub(),
        }
    }
}

async fn connect(emulator: &Emulator, kind: Kind, id: &str) -> Result<Connected> {
    let variables = emulator.enroll(id)?.vars();
    let settings =
        Settings::from_vars(|name| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()))?;
    Ok(match kind {
        Kind::Client => Connected::Client(settings.connect().await?),
        Kind::Device => Connected::Device(settings.device().connect().await?),
    })
}

impl Report {
    /// The medians: a client, a device, and the median of the differences of each round.
    fn medians(&self) -> Option<(f64, f64, f64)> {
        let difference = median(self.supervised.iter().zip(&self.clients).map(|(device, client)| device - client))?;
        Some((median(self.clients.iter().copied())?, median(self.supervised.iter().copied())?, difference))
    }

    /// Checks the memory of a `Device` over its client: at most [`OVERHEAD_MAX`].
    ///
    /// # Errors
    /// A sentence that contains the figure.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let (_, _, difference) = self.medians().ok_or("nothing was measured")?;
        if difference > OVERHEAD_MAX {
            return Err(format!("a Device takes {difference:.2} KiB more than its client; at most {OVERHEAD_MAX} KiB"));
        }
        Ok(())
    }

    pub(crate) fn json(&self) -> Value {
        let medians = self.medians();
        json!({
            "rounds": self.rounds,
            "devices": self.devices,
            "clientKib": medians.map(|it| it.0),
            "deviceKib": medians.map(|it| it.1),
            "overheadKib": medians.map(|it| it.2),
            "samples": { "clientKib": self.clients, "deviceKib": self.supervised },
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((client, device, difference)) = self.medians() else { return writeln!(f, "nothing was measured") };
        writeln!(
            f,
            "{} idle devices over MQTT, median of {} rounds; with the emulator's part",
            self.devices, self.rounds
        )?;
        writeln!(f, "  client of Settings::connect  {client:8.2} KiB")?;
        writeln!(f, "  Device                       {device:8.2} KiB")?;
        writeln!(f, "  difference                   {difference:8.2} KiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_compares_the_rounds_with_each_other() {
        let report = |supervised: [f64; 3]| Report {
            rounds: 3,
            devices: 1,
            clients: vec![50.0, 60.0, 70.0],
            supervised: supervised.to_vec(),
        };
        assert_eq!(report([51.5, 61.5, 90.0]).check(), Ok(()), "one round is wrong");
        let problem = report([53.0, 63.0, 70.0]).check().expect_err("too much");
        assert_eq!(problem, "a Device takes 3.00 KiB more than its client; at most 2 KiB");
    }
}
