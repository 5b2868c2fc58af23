//! `cargo xtask tidy`: checks the rules of the repository. Reads the manifests, the lockfile and the tracked files.
//!
//! Each rule is a pure function in a separate file. For each violation, the function returns one sentence that says
//! what to do. The tests of a rule call its function with text that breaks the rule.

mod arrows;
mod bans;
mod cycles;
mod decisions;
mod floors;
mod imports;
mod layout;
mod lockfile;
mod manifests;
mod order;
mod packages;
mod readmes;
mod sources;
mod tokens;
mod vectors;

use std::fs;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use crate::spawn::{Cargo, command, root};

/// A tracked text file.
#[derive(Debug)]
struct File {
    /// The path from the root, with `/` as the separator.
    path: String,
    text: String,
}

/// Runs `cargo xtask tidy`.
pub(crate) fn tidy() -> ExitCode {
    if check_and_report() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the findings, and returns whether there are none.
pub(crate) fn check_and_report() -> bool {
    let findings = match findings() {
        Ok(findings) => findings,
        Err(problem) => vec![problem],
    };
    for finding in &findings {
        println!("tidy: {finding}");
    }
    match findings.len() {
        0 => println!("tidy: no findings"),
        count => println!("tidy: {count} findings"),
    }
    findings.is_empty()
}

/// Reads every input once and checks every rule.
fn findings() -> Result<Vec<String>, String> {
    let files = tracked_files()?;
    let text = |path: &str| {
        let file = files.iter().find(|it| it.path == path);
        file.map(|it| it.text.as_str())
            .ok_or_else(|| format!("{path} is not tracked by git; add it, because tidy reads it"))
    };
    let packages = packages::read(&Cargo::metadata()?)?;
    let locked = lockfile::parse(text("Cargo.lock")?);
    let architecture = text("docs/architecture.md")?;

    let mut findings = arrows::check(&packages, architecture);
    findings.extend(bans::check(&packages, &locked));
    findings.extend(manifests::check(&packages));
    findings.extend(vectors::check(text)?);
    findings.extend(sources::check(&files));
    findings.extend(readmes::check(&files));
    findings.extend(cycles::check(&files));
    findings.extend(floors::check(&files, architecture));
    findings.extend(layout::check(files.iter().map(|it| it.path.as_str())));
    findings.extend(files.iter().flat_map(order::check));
    findings.extend(files.iter().flat_map(sources::check_width));
    let index = text("docs/README.md").unwrap_or_default();
    findings.extend(decisions::check(files.iter().map(|it| it.path.as_str()), &[index, architecture]));
    Ok(findings)
}

/// Returns every tracked text file that exists. Without a git repository, returns every text file.
fn tracked_files() -> Result<Vec<File>, String> {
    let paths = match git_files() {
        Some(paths) => paths,
        // An unpacked archive has no git repository: use every file.
        None => walk()?,
    };
    let mut files = Vec::new();
    for path in paths {
        let Ok(bytes) = fs::read(root().join(&path)) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

fn git_files() -> Option<Vec<String>> {
    let output = command("git").args(["ls-files", "-z"]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

fn walk() -> Result<Vec<String>, String> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let problem = |error| format!("cannot read {}: {error}", root().join(&folder).display());
        for entry in fs::read_dir(root().join(&folder)).map_err(problem)? {
            let entry = entry.map_err(problem)?;
            let path = folder.join(entry.file_name());
            let is_built = ["target", ".git", "node_modules"].iter().any(|it| entry.file_name() == *it);
            if entry.file_type().map_err(problem)?.is_dir() {
                folders.extend((!is_built).then_some(path));
            } else if let Some(text) = path.to_str() {
                found.push(text.replace('\\', "/"));
            }
        }
    }
    found.sort();
    Ok(found)
}
