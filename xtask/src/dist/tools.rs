//! Functions for the other modules: they start programs, and read and write files. Each error names the program or the
//! file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::spawn::command;

/// Maximum number of words of a command line in an error.
const WORDS: usize = 12;

/// Maximum number of lines of a program's output in an error.
const LINES: usize = 60;

/// Runs a program. If the program fails, the error contains its output.
pub(super) fn run(program: &mut Command) -> Result<(), String> {
    output(program).map(drop)
}

/// Runs a program, and returns its standard output. If the program fails, the error contains its output.
pub(super) fn output(program: &mut Command) -> Result<Vec<u8>, String> {
    let ended = outcome(program)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let printed = [ended.stderr, ended.stdout].map(|it| String::from_utf8_lossy(&it).trim().to_owned());
    let status = ended.status;
    Err(format!("{} ended with {status}: {}", line(program), beginning(printed.join("\n").trim())))
}

/// As [`output`], for a program that prints text.
pub(super) fn text(program: &mut Command) -> Result<String, String> {
    let bytes = output(program)?;
    String::from_utf8(bytes).map_err(|_| format!("{} did not print UTF-8", line(program)))
}

/// Runs a program, and returns its exit status and output, also if the program fails. Returns an error only if the
/// program cannot be started.
pub(super) fn outcome(program: &mut Command) -> Result<Output, String> {
    program.stdin(Stdio::null()).output().map_err(|error| {
        let name = program.get_program().display().to_string();
        format!("cannot run {name}: {error}; install {name} (.ci/run lists the packages)")
    })
}

/// Whether a program is installed.
pub(super) fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|it| it.join(program).is_file()))
}

/// The time of the newest commit, in seconds since 1970. If the variable `SOURCE_DATE_EPOCH` is set, its value replaces
/// this time.
///
/// All files in the packages get this time, so two builds of the same commit give equal packages.
pub(super) fn source_date() -> Result<String, String> {
    if let Ok(seconds) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(seconds);
    }
    let seconds = text(command("git").args(["log", "-1", "--format=%ct"]))
        .map_err(|problem| format!("{problem}; outside of a git checkout, set SOURCE_DATE_EPOCH"))?;
    Ok(seconds.trim().to_owned())
}

/// Makes an empty folder. Deletes what the folder contains.
pub(super) fn empty_folder(folder: &Path) -> Result<(), String> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("cannot delete {}: {error}", folder.display()))?;
    }
    make_folder(folder)
}

/// Makes a folder and its parents.
pub(super) fn make_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

/// Copies a file to `to`, and creates the parent folders of `to`. The copy gets the permissions `mode`, such as
/// `0o644`.
pub(super) fn install(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let content = fs::read(from).map_err(|error| format!("cannot read {}: {error}", from.display()))?;
    install_bytes(&content, to, mode)
}

/// Writes a file to `to`, and creates the parent folders of `to`. The file gets the permissions `mode`, such as
/// `0o644`.
pub(super) fn install_bytes(content: &[u8], to: &Path, mode: u32) -> Result<(), String> {
    write(to, content)?;
    set_mode(to, mode)
}

/// Writes a file, and makes its folder.
pub(super) fn write(to: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::write(to, content).map_err(|error| format!("cannot write {}: {error}", to.display()))
}

/// Reads a text file.
pub(super) fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// The names of the entries of a folder, sorted.
pub(super) fn file_names(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut names: Vec<PathBuf> = entries.into_iter().map(|it| it.file_name().into()).collect();
    names.sort();
    Ok(names)
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let set = fs::set_permissions(file, fs::Permissions::from_mode(mode));
    set.map_err(|error| format!("cannot set the mode of {}: {error}", file.display()))
}

#[cfg(not(unix))]
fn set_mode(_file: &Path, _mode: u32) -> Result<(), String> {
    Ok(())
}

/// Returns the program and its arguments as text for an error, with at most [`WORDS`] words.
fn line(program: &Command) -> String {
    let mut words: Vec<_> = std::iter::once(program.get_program()).chain(program.get_args()).collect();
    if words.len() > WORDS {
        words.truncate(WORDS);
        words.push("…".as_ref());
    }
    words.iter().map(|it| it.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The first lines of what a program has printed.
fn beginning(text: &str) -> String {
    let mut lines = text.lines();
    let mut first: Vec<&str> = lines.by_ref().take(LINES).collect();
    if lines.next().is_some() {
        first.push("…");
    }
    first.join("\n")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_error_contains_what_the_program_printed() {
        let problem = run(Command::new("sh").args(["-c", "echo cause >&2; exit 3"])).expect_err("fails");
        assert!(problem.contains("cause") && problem.contains("exit status: 3"), "{problem}");
        let problem = run(&mut Command::new("no-such-program")).expect_err("fails");
        assert!(problem.contains("install no-such-program"), "{problem}");
        assert_eq!(text(Command::new("echo").arg("a")).as_deref(), Ok("a\n"));
    }

    #[test]
    fn an_error_has_a_limited_length() {
        let problem = run(Command::new("sh").args(["-c", "seq 1000; exit 1"]).args(["a"; 100])).expect_err("fails");
        assert!(problem.contains("a a …") && problem.ends_with("\n60\n…"), "{problem}");
    }

    #[test]
    fn finds_programs_on_the_path() {
        assert!(has("sh") && !has("no-such-program"));
    }
}
