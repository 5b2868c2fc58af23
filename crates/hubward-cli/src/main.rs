//! The command `hubward`: parses the arguments, calls the façade, prints text or JSON, and sets the exit code.

#[cfg(any(feature = "emulator", feature = "service"))]
mod admin_feed;
#[cfg(feature = "service")]
mod az_args;
mod certificate_args;
#[cfg(feature = "service")]
mod certificate_file;
#[cfg(feature = "emulator")]
mod cloud;
mod commands;
#[cfg(feature = "emulator")]
mod confirm;
#[cfg(feature = "service")]
mod device_network;
mod duration;
mod environment;
mod exit_code;
mod failure;
mod input;
mod keys;
#[cfg(feature = "x509")]
mod lab;
#[cfg(any(feature = "emulator", feature = "service"))]
mod local_emulator;
mod log;
#[cfg(feature = "x509")]
mod new_file;
mod output;
mod override_notes;
mod process_group;
mod provisioning;
mod recovery_args;
#[cfg(feature = "service")]
mod service_login;
#[cfg(feature = "service")]
mod service_reach;
mod session;
#[cfg(any(feature = "service", feature = "x509"))]
mod shell;
mod spinner;
mod stop;
mod tally;

use std::io::Write as _;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _};
use clap_complete::Shell;

use crate::environment::variable;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::stop::Stop;

/// Connects devices to Azure IoT, and runs a local DPS and IoT Hub.
///
/// Provisions a device through DPS over HTTPS, MQTT or MQTT over WebSocket. Sends its telemetry over MQTT or MQTT over
/// WebSocket. Manages enrollments and hubs. An independent project, not a Microsoft product.
#[derive(Debug, Parser)]
#[command(
    name = "hubward",
    version,
    max_term_width = 100,
    after_help = "Examples:
  hubward quickstart                        # everything on this machine, nothing to set up
  hubward emulator --dev-keys               # a local DPS and IoT Hub, until Ctrl-C
  hubward provision --messages 10           # a device with PROVISIONING_* variables
  hubward device run --interval 5s          # run that device: telemetry, twin, methods, messages

Logs go to stderr: --log debug, or HUBWARD_LOG=hubward=trace."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Format of the output on stdout [env: HUBWARD_OUTPUT] [default: text]
    ///
    /// `table` and `tsv` work with the commands that print the answer of a service.
    #[arg(long, short, global = true, value_name = "FORMAT")]
    output: Option<Format>,
    /// Log level or filter for stderr, such as hubward_mqtt=debug [default: warn]
    ///
    /// The levels are error, warn, info, debug and trace.
    #[arg(long, global = true, value_name = "FILTER", env = "HUBWARD_LOG")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a demo: a local cloud and a device that registers and sends ten messages.
    #[cfg(feature = "emulator")]
    Quickstart(commands::quickstart::QuickstartArgs),
    /// Register a device with DPS to find its hub, and optionally send telemetry.
    Provision(Box<commands::provision::ProvisionArgs>),
    /// Act as a device: telemetry, twin, methods, cloud-to-device messages.
    #[command(subcommand)]
    Device(commands::device::DeviceCommand),
    /// Manage a DPS: enrollments, groups, registrations (named as in `az iot dps`).
    #[cfg(feature = "service")]
    Dps(Box<commands::dps::DpsCommands>),
    /// Manage a hub: devices, twins, methods, queries (named as in `az iot hub`).
    #[cfg(feature = "service")]
    Hub(Box<commands::hub::HubArgs>),
    /// Run a local DPS and IoT Hub until Ctrl-C.
    #[cfg(feature = "emulator")]
    Emulator(Box<commands::emulator::EmulatorArgs>),
    /// Sign tokens and derive keys.
    #[command(
        subcommand,
        after_help = "Example:\n  hubward sas derive-key --registration-id dev-1 --group-key-file group.key"
    )]
    Sas(commands::sas::SasCommand),
    /// Create certificates for a lab, and check certificates.
    #[cfg(feature = "x509")]
    #[command(
        subcommand,
        after_help = "Example:\n  hubward x509 new-ca --name lab-root\n  hubward x509 new-device --name pump-1 \
                      --issuer-cert lab-root.pem --issuer-key lab-root.key\n  hubward x509 verify pump-1.pem \
                      --key-file pump-1.key\n\nFor tests and labs. docs/certificates.md explains the certificates."
    )]
    X509(commands::x509::X509Command),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  hubward completions bash > ~/.local/share/bash-completion/completions/hubward")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the man page of every command to a folder.
    #[cfg(feature = "man-pages")]
    #[command(hide = true, after_help = "Example:\n  hubward man-pages ~/.local/share/man/man1")]
    ManPages(commands::man_pages::ManPagesArgs),
}

impl Command {
    /// Returns whether this is an `az` command that has another name in `hubward`. clap does not parse the arguments of
    /// such a command. So `cli.output` is `None` even if the arguments contain `--output`.
    const fn is_az_command(&self) -> bool {
        matches!(self, Self::Device(command) if command.is_az_command())
    }

    /// Returns whether the dial rules come from the user. `quickstart` and the simulated devices of `emulator` connect
    /// to the emulator in the same process, with rules of their own.
    const fn uses_rules_of_the_user(&self) -> bool {
        #[cfg(feature = "emulator")]
        return !matches!(self, Self::Quickstart(_) | Self::Emulator(_));
        #[cfg(not(feature = "emulator"))]
        true
    }

    /// Returns whether the command prints the answer of a service. Such an answer has rows and columns.
    const fn has_rows(&self) -> bool {
        match self {
            #[cfg(feature = "service")]
            Self::Dps(_) => true,
            #[cfg(feature = "service")]
            Self::Hub(args) => args.has_rows(),
            #[cfg(feature = "emulator")]
            Self::Emulator(args) => args.has_rows(),
            _ => false,
        }
    }
}

fn main() -> std::process::ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => return std::process::ExitCode::from(explain(&error) as u8),
    };
    let (format, stderr) = (chosen_format(&cli), output::stderr());
    let output = Output::new(format.as_ref().copied().unwrap_or_default(), stderr.clone());
    let ready = format.and_then(|_| log::start(cli.log.as_deref(), stderr, cli.command.uses_rules_of_the_user()));
    let code = in_runtime(async {
        let ended = match ready {
            Ok(()) => output.until_written(Box::pin(run(&cli, &output))).await,
            Err(failure) => Err(failure),
        };
        output.end(ended.map_err(override_notes::with_address)).await
    });
    std::process::ExitCode::from(code as u8)
}

/// Runs the future `program` to its end. Then kills all child processes, and does not wait for background tasks.
fn in_runtime(program: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build() {
        Ok(runtime) => {
            let code = runtime.block_on(program);
            process_group::kill_all();
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            // Write to stderr directly, because `Output` writes through a queue, which needs the runtime.
            let _ = writeln!(std::io::stderr(), "error: the async runtime cannot be started: {error}");
            ExitCode::Local
        }
    }
}

/// Parses the arguments. Clap also reads the environment variables of some arguments.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = without_empty_variables(Cli::command());
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Makes clap ignore the environment variables that are empty. A shell or a compose file sets a variable to an empty
/// text if the variable has no value.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty =
        |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|it| it.to_string_lossy().trim().is_empty());
    let command = command.mut_args(|it| if it.get_env().is_some_and(is_empty) { it.env(None::<&str>) } else { it });
    command.mut_subcommands(without_empty_variables)
}

/// Returns the format from the arguments. Without such an argument, returns the format from the environment.
fn chosen_format(cli: &Cli) -> Result<Format, Failure> {
    let has_rows = cli.command.has_rows();
    match cli.output {
        None if cli.command.is_az_command() && wants_json() => Ok(Format::Json),
        None => {
            let format = format_from_env()?;
            // HUBWARD_OUTPUT applies to all commands in a shell. If it selects `table` or `tsv`, a command without rows
            // prints text.
            Ok(if has_rows || format.works_without_rows() { format } else { Format::default() })
        }
        Some(format) if has_rows || format.works_without_rows() => Ok(format),
        Some(_) => Err(Failure::usage(
            "--output: this command has no table and tsv; only commands that print a service's answer have them",
        )
        .hint("use --output text or --output json")),
    }
}

/// The format in `HUBWARD_OUTPUT`; an empty variable counts as not set.
fn format_from_env() -> Result<Format, Failure> {
    match variable("HUBWARD_OUTPUT") {
        None => Ok(Format::default()),
        Some(text) => Format::from_str(&text, false)
            .map_err(|_| Failure::usage(format!("HUBWARD_OUTPUT: `{text}` is not one of text, json, table, tsv"))),
    }
}

/// Prints clap's error about the arguments, or the text for `--help` or `--version`.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && wants_json() {
        let text = error.to_string();
        // The first paragraph is the message; usage and tips follow.
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        let words: Vec<&str> = message.split_whitespace().collect();
        let output = Output::new(Format::Json, output::stderr());
        return in_runtime(output.end(Err(Failure::usage(words.join(" ")))));
    }
    match error.print() {
        _ if error.use_stderr() => ExitCode::Usage,
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            let output = Output::new(Format::Text, output::stderr());
            in_runtime(output.end(Err(Failure::unwritten(error))))
        }
    }
}

/// Returns whether the user selected JSON, by an argument or by the environment. Works even if clap cannot parse the
/// arguments.
fn wants_json() -> bool {
    let arguments: Vec<String> = std::env::args_os().map(|it| it.to_string_lossy().into_owned()).collect();
    match requested_format(&arguments) {
        Some(format) => format == "json",
        None => variable("HUBWARD_OUTPUT").is_some_and(|it| it == "json"),
    }
}

/// Returns the format from the last argument of the form `--output F`, `--output=F`, `-o F`, `-oF` or `-o=F`.
fn requested_format(arguments: &[String]) -> Option<&str> {
    arguments.iter().enumerate().rev().find_map(|(at, it)| match it.as_str() {
        "--output" | "-o" => arguments.get(at + 1).map(String::as_str),
        it if it.starts_with("--") => it.strip_prefix("--output="),
        it => it.strip_prefix("-o").map(|it| it.strip_prefix('=').unwrap_or(it)),
    })
}

async fn run(cli: &Cli, output: &Output) -> Result<ExitCode, Failure> {
    match &cli.command {
        Command::Provision(args) => {
            let prepared = commands::provision::prepare(args)?;
            Stop::listen()?.or_interrupt(prepared.run(output)).await
        }
        Command::Device(command) => commands::device::run(command, output).await,
        #[cfg(feature = "service")]
        Command::Dps(args) => Stop::listen()?.or_interrupt(commands::dps::run(args, output)).await,
        #[cfg(feature = "service")]
        Command::Hub(args) => commands::hub::run(args, output).await,
        #[cfg(feature = "emulator")]
        Command::Quickstart(args) => {
            let cloud = Stop::listen()?.or_interrupt(commands::quickstart::run(args, output)).await?;
            // From here on, Ctrl-C is not an interruption: with `--keep`, it is the normal way to end the command.
            commands::quickstart::leave(args, cloud, output).await
        }
        #[cfg(feature = "emulator")]
        Command::Emulator(args) => commands::emulator::run(args, output).await,
        Command::Sas(command) => commands::sas::run(command, output).await,
        #[cfg(feature = "x509")]
        Command::X509(command) => commands::x509::run(command, output).await,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "hubward", &mut text);
            output.exact(String::from_utf8_lossy(&text).trim_end().to_owned()).await;
            Ok(ExitCode::Ok)
        }
        #[cfg(feature = "man-pages")]
        Command::ManPages(args) => commands::man_pages::run(args, Cli::command(), output).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_read_in_every_spelling() {
        for (arguments, expected) in [
            (&["hub", "-o", "json", "-x"][..], Some("json")),
            (&["-ojson"], Some("json")),
            (&["-o=json"], Some("json")),
            (&["--output=text", "--output", "json"], Some("json")),
            (&["--output-dir", "json"], None),
            (&["hub", "-o"], None),
        ] {
            let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(requested_format(&arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
