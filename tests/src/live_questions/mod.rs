//! Twenty questions to a live DPS and IoT Hub whose answers no public source gives. The emulator inside of
//! this process answers the same questions, and the differences are listed.
//!
//! Every request is written byte by byte, since the answers to odd requests matter and no client of ours
//! sends those.

mod asker;
mod cloud;
mod compare;
mod http;
mod ledger;
mod line;
mod mask;
mod normal;
mod options;
mod questions;
mod record;
mod reference;
mod report;
mod run;
mod say;
mod time;

use std::process::ExitCode;
use std::sync::Arc;

use cloud::Cloud;
use compare::Difference;
use options::{HELP, Options};
use record::Answer;
use reference::Reference;
use say::{complain, say};
use tokio::signal;

/// Every question was answered, and as by the emulator.
const SAME: u8 = 0;
/// Something could not be asked, written or deleted.
const INCOMPLETE: u8 = 1;
/// The command line or a variable is wrong.
const USAGE: u8 = 2;
/// Every question was answered, and an answer differs from that of the emulator.
const DIFFERENT: u8 = 3;
/// Ended by a signal.
const INTERRUPTED: u8 = 130;

/// Runs the program with these arguments and the variables of this process.
pub async fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            say(format_args!("{HELP}"));
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
        return usage("this is not a service on this machine; add --yes if the run may act on it");
    }
    if let Err(problem) = report::prepare(&options.out) {
        complain(format_args!("error: {problem}"));
        return INCOMPLETE.into();
    }
    let reference = match Reference::start().await {
        Ok(reference) => reference,
        Err(problem) => {
            complain(format_args!("error: the emulator for the comparison does not start: {problem}"));
            return INCOMPLETE.into();
        }
    };
    let code = match run::check_logins(&cloud).await {
        Ok(()) => ask_and_report(&cloud, &reference, &options).await,
        Err(problem) => {
            complain(format_args!("error: {}", cloud.mask.apply(&problem)));
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
            say(format_args!("{signal}: deletes what the run has created; another signal leaves it"));
            None
        }
    };
    // Before anything is deleted, which can take minutes: the answers are what the run is for.
    let results = answers.map(|(live, emulated)| {
        let differences = compare::differences(&live, &emulated);
        let written = report::write(&options.out, &live, &emulated, &differences);
        (live, emulated, differences, written)
    });
    let problems = tokio::select! {
        problems = ledger::clean_up(cloud) => problems,
        _ = ended_by_signal() => {
            complain(format_args!("ids that begin with {} may be left; delete them by hand", cloud.prefix));
            return INTERRUPTED;
        }
    };
    for problem in &problems {
        complain(format_args!("not deleted: {}", cloud.mask.apply(problem)));
    }
    let Some((live, emulated, differences, written)) = results else { return INTERRUPTED };
    if let Err(problem) = written {
        complain(format_args!("error: {problem}"));
        return INCOMPLETE;
    }
    summarise(&live, &emulated, &differences, options);
    let is_written = !say::has_failed();
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
    say(format_args!(
        "Asks {count} questions of the hub {} and the DPS {} (id scope {}).",
        cloud.hub.host, cloud.dps.host, cloud.scope
    ));
    say(format_args!(
        "Creates at most 140 devices, 60 modules and 120 enrollments, whose ids begin with {}. Deletes all at the end.",
        cloud.prefix
    ));
    say(format_args!(
        "Uses at most 1,000 messages of the hub's daily quota. Use a hub and a DPS that serve nothing else."
    ));
    if cloud.time.is_real() {
        say(format_args!(
            "Takes at least four minutes: locks of 60 s have to end, and a live service throttles requests."
        ));
    } else {
        say(format_args!("Moves the clock of the emulator by about three minutes instead of waiting for locks."));
    }
    say(format_args!("Writes the answers, without keys, tokens and signatures, to {}.", out.display()));
}

fn summarise(live: &[Answer], emulated: &[Answer], differences: &[Difference], options: &Options) {
    if !differences.is_empty() {
        say(format_args!("\n{}", compare::table(differences)));
    }
    for (who, answers) in [("", live), ("the emulator of the comparison: ", emulated)] {
        for line in report::not_asked(answers) {
            say(format_args!("{who}{line}"));
        }
    }
    say(format_args!("The answers are in {}.", options.out.display()));
    let answers = live.iter().filter(|it| it.stopped.is_none()).count();
    say(format_args!("{answers} answers, {} differences", differences.len()));
}

fn usage(problem: &str) -> ExitCode {
    complain(format_args!("error: {problem}\n\nFor the options: cargo xtask live-questions --help"));
    USAGE.into()
}

/// Waits for Ctrl-C or, on Unix, SIGTERM or SIGHUP; gives its name.
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
