//! Prints the results as two tables or as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::Sample;
use super::identity::Identity;
use crate::cores::Cores;
use crate::report::Cell;

/// The results of all measurements.
#[derive(Debug)]
pub(crate) struct Report {
    pub(super) rounds: u16,
    pub(super) logins_each: u32,
    pub(super) devices: u32,
    pub(super) cores: Cores,
    pub(super) logins: Vec<LoginRow>,
    pub(super) idle: Vec<IdleRow>,
}

/// Processor time per login, in microseconds. There is one sample per round.
#[derive(Debug)]
pub(super) struct LoginRow {
    pub(super) identity: Identity,
    pub(super) samples: Vec<Sample>,
}

/// Resident memory per idle device, in KiB. There is one sample per round.
#[derive(Debug)]
pub(super) struct IdleRow {
    pub(super) identity: Identity,
    pub(super) samples: Vec<Sample>,
}

impl LoginRow {
    pub(super) const fn new(identity: Identity) -> Self {
        Self { identity, samples: Vec::new() }
    }
}

impl IdleRow {
    pub(super) const fn new(identity: Identity) -> Self {
        Self { identity, samples: Vec::new() }
    }
}

impl Report {
    /// The ratio to the login with SAS: the median of the ratios of each round.
    fn ratio(&self, row: &LoginRow) -> Sample {
        compare(&row.samples, self.logins.first().map(|it| &*it.samples), |it, sas| it / sas)
    }

    /// The additional cost compared with a device with SAS: the median of the differences of each round.
    fn more(&self, row: &IdleRow) -> Sample {
        compare(&row.samples, self.idle.first().map(|it| &*it.samples), |it, sas| it - sas)
    }

    /// The results as one JSON object, with camelCase names.
    pub(crate) fn json(&self) -> Value {
        let pair = |it: Sample| json!({ "devices": it.devices, "emulator": it.emulator });
        let logins: Vec<Value> = self
            .logins
            .iter()
            .map(|row| {
                json!({
                    "identity": row.identity.name(),
                    "cpuMicrosPerLogin": pair(Sample::medians(&row.samples)),
                    "cpuToSas": pair(self.ratio(row)),
                    "samples": row.samples.iter().copied().map(pair).collect::<Vec<_>>(),
                })
            })
            .collect();
        let idle: Vec<Value> = self
            .idle
            .iter()
            .map(|row| {
                json!({
                    "identity": row.identity.name(),
                    "residentKibPerDevice": pair(Sample::medians(&row.samples)),
                    "moreThanSasKib": pair(self.more(row)),
                    "samples": row.samples.iter().copied().map(pair).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "version": 1,
            "bench": "certificates",
            "tls": "1.3",
            "resumption": false,
            "optimised": !cfg!(debug_assertions),
            "cores": self.cores.name(),
            "rounds": self.rounds,
            "loginsPerRound": self.logins_each,
            "idleDevices": self.devices,
            "logins": logins,
            "idle": idle,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "certificates: logins over MQTT, TLS 1.3 (rustls, ring) on loopback, to the emulator in memory;")?;
        writeln!(f, "every TLS handshake is a full one: no session is resumed;")?;
        writeln!(f, "a certificate comes with its intermediate (P-256); p256-by-ca: the hub knows only the root;")?;
        let place = match self.cores {
            Cores::Apart => "each on a separate core",
            Cores::Together => "both on one core",
            Cores::Any => "on any core that the system chooses",
        };
        writeln!(f, "devices and emulator are processes of one thread each, {place};")?;
        writeln!(f, "cpu is user and system, in microseconds per login (TCP, TLS, CONNECT, DISCONNECT);")?;
        writeln!(f, "figures are medians of {} rounds, identities in turn.", self.rounds)?;
        if cfg!(debug_assertions) {
            writeln!(f, "Built without optimisation: these figures are meaningless.")?;
        }
        writeln!(f, "\n{:<12} {:>10} {:>6} {:>12} {:>6}", "identity", "device cpu", "ratio", "emulator cpu", "ratio")?;
        for row in &self.logins {
            let (cpu, ratio) = (Sample::medians(&row.samples), self.ratio(row));
            writeln!(
                f,
                "{:<12} {:>10} {:>6} {:>12} {:>6}",
                row.identity.name(),
                Cell(cpu.devices, 0),
                Cell(ratio.devices, 2),
                Cell(cpu.emulator, 0),
                Cell(ratio.emulator, 2),
            )?;
        }
        if self.devices == 0 {
            return Ok(());
        }
        writeln!(f, "\nresident memory in KiB for each of {} idle devices:", self.devices)?;
        writeln!(f, "{:<12} {:>10} {:>6} {:>12} {:>6}", "identity", "device", "more", "emulator", "more")?;
        for row in &self.idle {
            let (memory, more) = (Sample::medians(&row.samples), self.more(row));
            writeln!(
                f,
                "{:<12} {:>10} {:>6} {:>12} {:>6}",
                row.identity.name(),
                Cell(memory.devices, 1),
                Cell(more.devices, 1),
                Cell(memory.emulator, 1),
                Cell(more.emulator, 1),
            )?;
        }
        Ok(())
    }
}

/// Compares the samples of each round with those of SAS, and returns the medians.
fn compare(samples: &[Sample], sas: Option<&[Sample]>, how: impl Fn(f64, f64) -> f64) -> Sample {
    let pairs = samples.iter().zip(sas.unwrap_or_default());
    Sample::medians(&pairs.map(|(it, sas)| it.with(*sas, &how)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(f64, f64)]) -> Vec<Sample> {
        values.iter().map(|it| Sample { devices: Some(it.0), emulator: Some(it.1) }).collect()
    }

    fn report(devices: u32) -> Report {
        let logins = [
            (Identity::Sas, samples(&[(500.0, 400.0), (1000.0, 800.0), (500.0, 400.0)])),
            (Identity::P256, samples(&[(600.0, 800.0), (1300.0, 1600.0), (700.0, 800.0)])),
        ];
        let idle = [
            (Identity::Sas, samples(&[(30.0, 25.0), (32.0, 25.0), (31.0, 25.0)])),
            (Identity::P256, samples(&[(40.0, 27.0), (41.0, 28.5), (42.0, 27.0)])),
        ];
        Report {
            rounds: 3,
            logins_each: 10,
            devices,
            cores: Cores::Any,
            logins: logins.into_iter().map(|(identity, samples)| LoginRow { identity, samples }).collect(),
            idle: idle.into_iter().map(|(identity, samples)| IdleRow { identity, samples }).collect(),
        }
    }

    #[test]
    fn rows_compare_with_sas_of_the_same_round() {
        let text = report(1000).to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|it| it.split_whitespace().collect())
            .filter(|it: &Vec<&str>| it.first().is_some_and(|it| ["sas", "p256"].contains(it)))
            .collect();
        assert_eq!(
            rows,
            [
                ["sas", "500", "1.00", "400", "1.00"],
                ["p256", "700", "1.30", "800", "2.00"],
                ["sas", "31.0", "0.0", "25.0", "0.0"],
                ["p256", "41.0", "10.0", "27.0", "2.0"],
            ]
        );
    }

    #[test]
    fn json_contains_the_same_results() {
        let json = report(1000).json();
        assert_eq!(json["logins"][1]["cpuToSas"]["emulator"], 2.0);
        assert_eq!(json["idle"][1]["moreThanSasKib"]["devices"], 10.0);
        assert_eq!(json["idle"][1]["samples"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn without_idle_devices_there_is_no_table_of_memory() {
        assert!(!report(0).to_string().contains("resident"));
    }
}
