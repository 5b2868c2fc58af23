//! `hubward man-pages`: writes the man page of each command to a folder. The Debian package contains these pages.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Outcome, Output};

#[derive(Debug, Args)]
pub(crate) struct ManPagesArgs {
    /// Folder for the pages, such as ~/.local/share/man/man1; created if it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes one file for `command` and one for each of its visible subcommands: `hubward.1`, `hubward-device.1`, …
pub(crate) async fn run(args: &ManPagesArgs, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    write(&args.folder, command).map_err(|error| {
        Failure::local(format!("cannot write the man pages to {}: {error}", args.folder.display()))
            .hint("choose a folder in which you may create files")
    })?;
    output.tell(&Event::Result { outcome: &Outcome::default() }).await;
    Ok(ExitCode::Ok)
}

fn write(folder: &Path, command: Command) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    // clap's own command `help` only repeats the other pages.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().filter(|it| !it.is_hide_set()).cloned());
        std::fs::write(folder.join(format!("{}.1", name(&command))), page(&command)?)?;
    }
    Ok(())
}

/// The name of a command with hyphens, for example `hubward-device-run`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command, in the language of man.
fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .title(name(command).to_uppercase())
        .source(concat!("hubward ", env!("CARGO_PKG_VERSION")))
        .manual("hubward");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|it| !it.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        page.write_all(examples(&text.to_string()).to_roff().as_bytes())?;
    }
    Ok(page)
}

/// Returns the section with the examples of a help text. Indented lines are examples, and the man page
/// shows them line by line. If clap_mangen formatted the section, it would break a long command at any space.
fn examples(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    let mut is_example = false;
    let lines = text.lines().filter(|it| !matches!(*it, "Example:" | "Examples:"));
    for line in lines.skip_while(|it| it.trim().is_empty()) {
        if line.starts_with(' ') != is_example && !line.trim().is_empty() {
            is_example = !is_example;
            roff.control(if is_example { "nf" } else { "fi" }, []);
        }
        match line.trim_start() {
            "" => roff.control("PP", []),
            // Remove only two spaces. If an example continues on the next line, this line has a deeper indentation,
            // which must stay.
            _ if is_example => roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]),
            line => roff.text([roman(line)]),
        };
    }
    if is_example {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_prose_does_not() {
        let roff = examples("Examples:\n  hubward a   # one\n    --more\n  hubward b\n\nLogs go\nto stderr.").to_roff();
        let expected = ".SH EXAMPLES\n.nf\nhubward a   # one\n  \\-\\-more\nhubward b\n.PP\n.fi\nLogs go\nto stderr.\n";
        assert!(roff.ends_with(expected), "{roff}");
        let roff = examples("Example:\n  hubward a").to_roff();
        assert!(roff.ends_with(".SH EXAMPLES\n.nf\nhubward a\n.fi\n"), "{roff}");
    }

    #[test]
    fn each_visible_command_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let hidden = Command::new("secret").hide(true);
        let inner = Command::new("run").about("Run it").after_help("Example:\n  top sub run");
        let command = Command::new("top").subcommand(Command::new("sub").subcommand(inner)).subcommand(hidden);
        write(&folder.path().join("man1"), command).expect("writable");
        let entries = std::fs::read_dir(folder.path().join("man1")).expect("a folder");
        let mut names: Vec<_> = entries.map(|it| it.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["top-sub-run.1", "top-sub.1", "top.1"]);
        let page = std::fs::read_to_string(folder.path().join("man1/top-sub-run.1")).expect("a page");
        assert!(page.contains("TH TOP\\-SUB\\-RUN 1") || page.contains("TH TOP-SUB-RUN 1"), "{page}");
        assert!(page.contains("Run it") && page.contains("\ntop sub run\n"), "{page}");
    }
}
