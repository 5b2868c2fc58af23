//! Runs the first steps of a page of `docs/`: the commands that lead from an empty folder to a passing test.
//!
//! The commands run exactly as the page shows them, except for the names of packages: for a package of this repository,
//! the test inserts the path of the built file; for another package, a pinned version.

use std::path::Path;
use std::process::{Command, Stdio};

use super::tools;
use crate::spawn::{command, root};

/// The number of commands that a page promises.
const COMMANDS: usize = 3;

/// Begin of the block with the commands.
const BLOCK: &str = "```sh\n";

/// Prefixes of variables that must not reach the installed packages, because they could replace parts of them.
const DROPPED: [&str; 7] = ["PYTHON", "PYTEST_", "VIRTUAL_ENV", "NODE_", "HUBWARD_", "PROVISIONING_", "IOTHUB_"];

/// Runs the commands of a page in `folder`, and prints each command as the page shows it. If `replace` returns a text
/// for a word of a command, this text replaces the word.
pub(super) fn run(
    page: &str,
    folder: &Path,
    variables: &[(&str, String)],
    replace: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let text = tools::read(&root().join(page))?;
    for line in commands(&text).map_err(|problem| format!("{page}: {problem}"))? {
        println!("{page}: $ {line}");
        let words: Vec<String> =
            line.split_whitespace().map(|it| replace(it).unwrap_or_else(|| it.to_owned())).collect();
        let mut shell = as_user("sh", folder);
        shell.arg("-c").arg(words.join(" ")).envs(variables.iter().map(|(name, value)| (name, value)));
        tools::run(&mut shell)?;
    }
    Ok(())
}

/// A command that runs as for a user who has only installed the packages: without the variables in [`DROPPED`].
pub(super) fn as_user(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = command(program);
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if DROPPED.iter().any(|it| name.to_string_lossy().starts_with(it)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Returns the commands in the first block of shell commands of a page. If a line ends with a backslash, the command
/// continues on the next line.
fn commands(page: &str) -> Result<Vec<String>, String> {
    let (_, rest) = page.split_once(BLOCK).ok_or("there is no block of shell commands")?;
    let (block, _) = rest.split_once("```").ok_or("the first block of shell commands has no end")?;
    let commands: Vec<String> = block.replace("\\\n", "").lines().map(str::to_owned).collect();
    if commands.len() == COMMANDS {
        Ok(commands)
    } else {
        Err(format!("the first block has {} commands instead of {COMMANDS}", commands.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_three_commands_of_a_page() {
        let page = "text\n```python\nx\n```\n```sh\none \\\n  more\ntwo && 2\nthree\n```\n```sh\nrest\n```\n";
        assert_eq!(commands(page), Ok(["one   more", "two && 2", "three"].map(str::to_owned).to_vec()));
        assert!(commands("```sh\none\n```\n").is_err_and(|it| it.contains("1 commands")));
        assert!(commands("text").is_err() && commands("```sh\none").is_err());
    }

    /// Each page shows the file that its second command creates.
    #[test]
    fn the_pages_show_the_example_that_the_packages_contain() {
        for (page, example) in [
            ("docs/python.md", "dist/python/src/hubward_emulator/example/test_device.py"),
            ("docs/node.md", "dist/npm/hubward/example.test.js"),
        ] {
            let read = |name: &str| tools::read(&root().join(name)).expect(name);
            assert!(read(page).contains(&read(example)), "{page} does not contain {example}");
        }
    }
}
