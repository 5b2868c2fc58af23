//! The first steps of a page of `docs/`: the commands from an empty folder to a passing test.
//!
//! A test runs the commands exactly as the page shows them. Only the names of the packages are replaced: a package of
//! this repository by the file that was built, and a package of others by its pinned version.

use std::path::Path;
use std::process::{Command, Stdio};

use super::tools;
use crate::spawn::{command, root};

/// The number of commands that a page promises.
const COMMANDS: usize = 3;

/// Begin of the block with the commands.
const BLOCK: &str = "```sh\n";

/// Variables of this process that could replace parts of the installed packages.
const DROPPED: [&str; 7] = ["PYTHON", "PYTEST_", "VIRTUAL_ENV", "NODE_", "HUBWARD_", "PROVISIONING_", "IOTHUB_"];

/// Runs the commands of a page in an empty folder. Replaces the words of the commands by `replace`, and prints each
/// command as the page shows it.
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

/// A program that runs as it does for a user who has only installed the packages.
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

/// The commands in the first block of a page. A line that ends with a backslash continues on the next line.
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
