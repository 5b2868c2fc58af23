//! Measures hubward on loopback. Started by `cargo xtask bench`.

mod bound;
mod certificates;
mod connector;
mod cores;
mod cpu;
mod frame;
mod hubward_client;
mod idle_devices;
mod measure;
mod memory;
mod report;
mod sink;
mod telemetry;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::Value;

/// Measures hubward on loopback, side by side with a bound of hand-written frames.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Throughput and processor time of QoS 1 messages with receipts
    Telemetry {
        #[command(flatten)]
        options: telemetry::Options,
        /// Output format
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
        /// Fail if hubward over MQTT has less than half the bound's throughput at window 100
        #[arg(long)]
        check: bool,
    },
    /// Processor time of logins with certificates, and memory of idle devices, beside SAS
    Certificates {
        #[command(flatten)]
        options: certificates::Options,
        /// Output format
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Memory of idle devices that keep themselves connected, beside plain clients
    Devices {
        #[command(flatten)]
        options: idle_devices::Options,
        /// Output format
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
        /// Fail if a device takes more than 2 KiB more than its client
        #[arg(long)]
        check: bool,
    },
    /// The process of one measurement of `devices`
    #[command(hide = true)]
    IdleDevices {
        #[arg(long, value_enum)]
        kind: idle_devices::Kind,
        #[arg(long)]
        devices: u32,
    },
    /// One of the two processes of `certificates`
    #[command(hide = true)]
    CertificatesPeer {
        #[arg(long, value_enum)]
        role: certificates::Role,
        #[arg(long)]
        core: Option<usize>,
    },
    /// The peer that acknowledges messages; started by `telemetry`
    #[command(hide = true)]
    Sink {
        #[arg(long, value_enum)]
        style: sink::Style,
        #[arg(long)]
        core: Option<usize>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            report_line(&format!("failed to measure: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    match command {
        Command::Sink { style, core } => sink::run(style, core).await?,
        Command::CertificatesPeer { role, core } => certificates::run_peer(role, core).await?,
        Command::IdleDevices { kind, devices } => {
            let kib = idle_devices::run_child(kind, devices).await?;
            writeln!(io::stdout(), "{kib}")?;
        }
        Command::Devices { options, output, check } => {
            let rounds = options.rounds;
            let report =
                idle_devices::run(&options, |round| report_line(&format!("round {round} of {rounds}"))).await?;
            print(output, &report, || report.json())?;
            if check && let Err(problem) = report.check() {
                report_line(&problem);
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Certificates { options, output } => {
            let rounds = options.rounds;
            let at_round = |part: &str, round| report_line(&format!("{part}: round {round} of {rounds}"));
            let report = certificates::run(&options, at_round).await?;
            print(output, &report, || report.json())?;
        }
        Command::Telemetry { options, output, check } => {
            let rounds = options.rounds;
            let report = telemetry::run(&options, |round| report_line(&format!("round {round} of {rounds}"))).await?;
            print(output, &report, || report.json())?;
            if check && let Err(problems) = report.check() {
                for problem in problems {
                    report_line(&problem);
                }
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(output: Output, text: &impl Display, json: impl FnOnce() -> Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Text => write!(out, "{text}")?,
        Output::Json => writeln!(out, "{}", json())?,
    }
    out.flush()
}

/// Writes a line to standard error. Ignores a failed write, because the program has no other place to report it.
fn report_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
