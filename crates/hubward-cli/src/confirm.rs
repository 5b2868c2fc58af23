//! A question before what cannot be undone.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Asks, unless `yes` has answered already. Whoever is no terminal has to say it with `--yes`.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} Nobody is here to be asked")).hint("say it with --yes"));
    }
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
    match read {
        Ok(_) if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        Ok(_) => Err(Failure::usage("nothing is done: the answer was not yes").hint("answer `y`, or use --yes")),
        Err(error) => Err(Failure::local(format!("no answer can be read: {error}"))),
    }
}
