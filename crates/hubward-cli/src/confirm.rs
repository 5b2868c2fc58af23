//! Asks the user to confirm an action that cannot be undone.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Asks the user for confirmation, unless `yes` is set. Returns an error if the user refuses, or if standard input is
/// not a terminal.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} The command cannot ask, because stdin is not a terminal"))
            .hint("confirm with --yes"));
    }
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let read = asked.and_then(|()| io::stdin().read_line(&mut answer));
    match read {
        Ok(_) if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        Ok(_) => Err(Failure::usage("nothing was changed: the answer was not yes").hint("answer `y`, or use --yes")),
        Err(error) => Err(Failure::local(format!("the answer cannot be read: {error}"))),
    }
}
