//! `certificates`: measures what devices with a certificate cost, beside devices with a key (SAS).
//!
//! The emulator and the devices are two child processes of one thread each. The first part measures the processor time
//! of logins. Each round measures every identity once, so other load on the machine affects all identities alike.
//!
//! The second part measures the memory of idle devices. Each measurement uses new processes, because memory that an
//! earlier run has freed would hide the difference.

mod devices;
mod emulator;
mod identity;
mod peer;
mod report;

use std::error::Error;

use crate::cores::{self, Cores};
use crate::measure::median;

use identity::{Authority, Identity};
pub(crate) use peer::Role;
use peer::{Peer, Usage};
pub(crate) use report::Report;
use report::{IdleRow, LoginRow};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Number of measurements of each identity; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// Number of logins of one measurement
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) logins: u32,
    /// Number of idle devices of one measurement, 0 for none
    #[arg(long, default_value_t = 1000)]
    pub(crate) devices: u32,
    /// Processor cores of the devices and the emulator
    #[arg(long, value_enum, default_value_t = Cores::Apart)]
    pub(crate) cores: Cores,
}

/// Does all measurements. Calls `at_round` with the name of the part when a round begins.
///
/// # Errors
/// A process does not start, or the emulator refuses a device.
pub(crate) async fn run(options: &Options, mut at_round: impl FnMut(&str, u16)) -> Result<Report> {
    // The child process of the devices inherits the core of this process, which only waits.
    let emulator_core = cores::pin_client(options.cores);
    let cores = if emulator_core.is_some() { options.cores } else { Cores::Any };
    let authority = Authority::new()?;

    let mut logins: Vec<LoginRow> = Identity::ALL.map(LoginRow::new).into();
    let mut processes = Processes::start(&authority, emulator_core).await?;
    // The first logins are slower: they fill the caches, and the emulator issues its certificate.
    for row in &logins {
        processes.log_in(&authority, row.identity, options.logins.div_ceil(10)).await?;
    }
    for round in 1..=options.rounds {
        at_round("logins", round);
        for row in &mut logins {
            row.samples.push(processes.log_in(&authority, row.identity, options.logins).await?);
        }
    }
    drop(processes);

    let mut idle: Vec<IdleRow> = Identity::IDLE.map(IdleRow::new).into();
    for round in 1..=options.rounds {
        if options.devices == 0 {
            break;
        }
        at_round("idle devices", round);
        for row in &mut idle {
            let mut processes = Processes::start(&authority, emulator_core).await?;
            row.samples.push(processes.idle(&authority, row.identity, options.devices).await?);
        }
    }
    let (rounds, logins_each, devices) = (options.rounds, options.logins, options.devices);
    Ok(Report { rounds, logins_each, devices, cores, logins, idle })
}

/// Runs as a child process, until standard input closes. If `core` is given, the process runs on that core.
///
/// # Errors
/// The process cannot do what its parent asks.
pub(crate) async fn run_peer(role: Role, core: Option<usize>) -> Result<()> {
    match role {
        Role::Emulator => emulator::run(core).await,
        Role::Devices => devices::run(core).await,
    }
}

/// A figure of the devices, and the same figure of the emulator. `None` if the system does not report it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    devices: Option<f64>,
    emulator: Option<f64>,
}

impl Sample {
    /// The median of a figure, for the devices and for the emulator.
    fn medians(samples: &[Self]) -> Self {
        Self {
            devices: median(samples.iter().filter_map(|it| it.devices)),
            emulator: median(samples.iter().filter_map(|it| it.emulator)),
        }
    }

    /// Combines two samples: first their figures of the devices, then their figures of the emulator.
    fn with(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let both = |one: Option<f64>, other: Option<f64>| Some(combine(one?, other?));
        Self { devices: both(self.devices, other.devices), emulator: both(self.emulator, other.emulator) }
    }
}

/// The two child processes.
struct Processes {
    emulator: Peer,
    devices: Peer,
}

impl Processes {
    async fn start(authority: &Authority, emulator_core: Option<usize>) -> Result<Self> {
        let mut emulator = Peer::start(Role::Emulator, emulator_core).await?;
        let at: peer::Address = emulator.ask(&emulator::Request::Start { authority: authority.pem() }).await?;
        let mut devices = Peer::start(Role::Devices, None).await?;
        let () = devices.ask(&devices::Request::Connector(at)).await?;
        Ok(Self { emulator, devices })
    }

    /// Measures the processor time per login, in microseconds.
    async fn log_in(&mut self, authority: &Authority, identity: Identity, times: u32) -> Result<Sample> {
        let device = self.add(authority, identity, identity.name()).await?;
        let before = self.usage().await?;
        let () = self.devices.ask(&devices::Request::Prepare { device, times }).await?;
        // The preparation took time of the devices.
        let before = (self.devices.usage().await?, before.1);
        let () = self.devices.ask(&devices::Request::LogIn).await?;
        let after = self.usage().await?;
        let spent = |after: &Usage, before: &Usage| Some((after.cpu_micros? - before.cpu_micros?) / f64::from(times));
        Ok(Sample { devices: spent(&after.0, &before.0), emulator: spent(&after.1, &before.1) })
    }

    /// Measures the resident memory per idle device, in KiB.
    async fn idle(&mut self, authority: &Authority, identity: Identity, count: u32) -> Result<Sample> {
        // The first device is not measured: it allocates what all devices share.
        let first = self.add(authority, identity, "first").await?;
        let () = self.devices.ask(&devices::Request::Connect(first)).await?;
        let mut waiting = Vec::new();
        for number in 0..count {
            waiting.push(self.add(authority, identity, &format!("d{number}")).await?);
        }
        let before = self.usage().await?;
        for device in waiting {
            let () = self.devices.ask(&devices::Request::Connect(device)).await?;
        }
        let after = self.usage().await?;
        let grown = |after: &Usage, before: &Usage| {
            Some((after.resident_kib? as f64 - before.resident_kib? as f64) / f64::from(count))
        };
        Ok(Sample { devices: grown(&after.0, &before.0), emulator: grown(&after.1, &before.1) })
    }

    /// Creates a device at the emulator, and returns what the device needs to log in.
    async fn add(&mut self, authority: &Authority, identity: Identity, id: &str) -> Result<devices::Device> {
        let id = id.to_owned();
        let Some(issued) = authority.issue(identity, &id)? else {
            let key = self.emulator.ask(&emulator::Request::AddWithKey { id: id.clone() }).await?;
            return Ok(devices::Device { id, secret: devices::Secret::Key(key) });
        };
        let thumbprint = (!identity.is_judged_by_authority()).then_some(issued.thumbprint);
        let () = self.emulator.ask(&emulator::Request::AddWithCertificate { id: id.clone(), thumbprint }).await?;
        Ok(devices::Device { id, secret: devices::Secret::Certificate { chain: issued.chain, key: issued.key } })
    }

    /// The usage of the devices, then of the emulator.
    async fn usage(&mut self) -> Result<(Usage, Usage)> {
        Ok((self.devices.usage().await?, self.emulator.usage().await?))
    }
}
