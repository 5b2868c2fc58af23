//! Asks a live DPS and a live IoT Hub twenty questions that no public source answers. Also asks an emulator in this
//! process the same questions, and lists the differences.
//!
//! The questions build their requests by hand. A client would never send many of these requests.

mod asker;
mod cleanup;
mod cloud;
mod compare;
mod connection;
mod http;
mod mask;
mod normal;
mod options;
mod output;
mod questions;
mod record;
mod reference;
mod report;
mod run;
mod time;

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use compare::Difference;
use options::{HELP, Options};
use output::{print_error, print_line};
use record::Answer;
use reference::Reference;
use tokio::signal;

/// Exit code if the cloud answered every question and every answer is the same as the emulator's.
const SAME: u8 = 0;
/// Exit code if the run could not ask, write or delete something.
const INCOMPLETE: u8 = 1;
/// Exit code if the command line or a variable is wrong.
const USAGE: u8 = 2;
/// Exit code if the cloud answered every question and at least one answer is not the same as the emulator's.
const DIFFERENT: u8 = 3;
/// A signal ended the run.
const INTERRUPTED: u8 = 130;

/// Runs the program with these arguments. Reads the environment variables of this process.
pub async fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print_line(format_args!("{HELP}"));
            return ExitCode::SUCCESS;
        }
        Err(problem) => return usage(&problem),
    };
    let cloud = match Cloud::new(|name| std::env::var(name).ok()).await {
        Ok(cloud) => Arc::new(cloud),
        Err(problem) => return usage(&problem),
    };
    announce(&cloud, &options);
    if !cloud.is_local() && !options.yes {
        return usage("a service is not on this machine; add --yes if the run may act on it");
    }
    if let Err(problem) = report::prepare(&options.out) {
        print_error(format_args!("error: {problem}"));
        return INCOMPLETE.into();
    }
    let reference = match Reference::start().await {
        Ok(reference) => reference,
        Err(problem) => {
            print_error(format_args!("error: the emulator for the comparison does not start: {problem}"));
            return INCOMPLETE.into();
        }
    };
    let code = match run::check_logins(&cloud).await {
        Ok(()) => ask_and_report(&cloud, &reference, &options).await,
        Err(problem) => {
            print_error(format_args!("error: {}", cloud.mask.apply(&problem)));
            INCOMPLETE
        }
    };
    reference.shutdown().await;
    code.into()
}

async fn ask_and_report(cloud: &Arc<Cloud>, reference: &Reference, options: &Options) -> u8 {
    let questions = options.questions();
    let both = async {
        tokio::join!(run::ask_all(cloud, &questions, true), run::ask_all(&reference.cloud, &questions, false))
    };
    let answers = tokio::select! {
        answers = both => Some(answers),
        signal = ended_by_signal() => {
            print_line(format_args!(
                "{signal}: deletes everything that the run created; another signal stops the deletion"
            ));
            None
        }
    };
    // Write the answers now. The deletion below can take minutes, and the user may interrupt it.
    let results = answers.map(|(live, emulated)| {
        let differences = compare::differences(&live, &emulated);
        let written = report::write(&options.out, &live, &emulated, &differences);
        (live, emulated, differences, written)
    });
    let problems = tokio::select! {
        problems = cleanup::delete_created(cloud) => problems,
        _ = ended_by_signal() => {
            print_error(format_args!(
                "resources whose ids begin with {} may still exist; delete them by hand",
                cloud.prefix
            ));
            return INTERRUPTED;
        }
    };
    for problem in &problems {
        print_error(format_args!("not deleted: {}", cloud.mask.apply(problem)));
    }
    let Some((live, emulated, differences, written)) = results else { return INTERRUPTED };
    if let Err(problem) = written {
        print_error(format_args!("error: {problem}"));
        return INCOMPLETE;
    }
    summarise(&live, &emulated, &differences, options);
    let is_written = !output::has_failed();
    let is_complete = is_written && live.iter().chain(&emulated).all(Answer::is_complete) && problems.is_empty();
    match (is_complete, differences.is_empty()) {
        (false, _) => INCOMPLETE,
        (true, false) => DIFFERENT,
        (true, true) => SAME,
    }
}

fn announce(cloud: &Cloud, options: &Options) {
    let Options { out, .. } = options;
    let count = options.questions().len();
    print_line(format_args!(
        "Asks {count} questions of the hub {} and the DPS {} (id scope {}).",
        cloud.hub.host, cloud.dps.host, cloud.scope
    ));
    print_line(format_args!(
        "Creates at most 140 devices, 60 modules and 120 enrollments, whose ids begin with {}. Deletes all at the end.",
        cloud.prefix
    ));
    print_line(format_args!(
        "Uses at most 1,000 messages of the hub's daily quota. Use a hub and a DPS that serve nothing else."
    ));
    if cloud.time.is_real() {
        print_line(format_args!(
            "Takes at least four minutes: it waits for locks of 60 s, and a live service throttles requests."
        ));
    } else {
        print_line(format_args!(
            "Moves the clock of the emulator ahead by about three minutes instead of waiting for locks."
        ));
    }
    print_line(format_args!("Writes the answers, without keys, tokens and signatures, to {}.", out.display()));
}

fn summarise(live: &[Answer], emulated: &[Answer], differences: &[Difference], options: &Options) {
    if !differences.is_empty() {
        print_line(format_args!("\n{}", compare::table(differences)));
    }
    for (prefix, answers) in [("", live), ("the emulator of the comparison: ", emulated)] {
        for line in report::not_asked(answers) {
            print_line(format_args!("{prefix}{line}"));
        }
    }
    print_line(format_args!("The answers are in {}.", options.out.display()));
    let answers = live.iter().filter(|it| it.stopped.is_none()).count();
    print_line(format_args!("{answers} answers, {} differences", differences.len()));
}

fn usage(problem: &str) -> ExitCode {
    print_error(format_args!("error: {problem}\n\nFor the options: cargo xtask live-questions --help"));
    USAGE.into()
}

/// Waits for Ctrl-C or, on Unix, SIGTERM or SIGHUP. Returns the name of the signal.
async fn ended_by_signal() -> &'static str {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal as listen};
        let (Ok(mut terminate), Ok(mut hang_up)) = (listen(SignalKind::terminate()), listen(SignalKind::hangup()))
        else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = signal::ctrl_c() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hang_up.recv() => "SIGHUP",
        }
    }
    #[cfg(not(unix))]
    {
        let _ = signal::ctrl_c().await;
        "Ctrl-C"
    }
}
