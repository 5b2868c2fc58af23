//! Builds the wheel `hubward-emulator` for PyPI. It contains the program `hubward`, a Python API, and a pytest plugin.
//!
//! docs/decisions/0008-packages-around-one-binary.md says why hatchling builds the wheel, and not maturin.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Inputs, Kind, first_steps, tools};
use crate::spawn::{command, root};

pub(crate) const KIND: Kind = Kind { name: "wheel", build, test };

const SOURCES: &str = "dist/python";
const PAGE: &str = "docs/python.md";
/// The name of the package in the commands of the page.
const PACKAGE: &str = "hubward-emulator";
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

fn build(inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    let python = venv(&inputs.scratch.join("tools"))?;
    let requirements = root().join(SOURCES).join("build-requirements.txt");
    tools::run(pip_install(&python).arg("--no-deps").arg("-r").arg(requirements))?;
    let sources = inputs.scratch.join("sources");
    copy_folder(&root().join(SOURCES), &sources)?;
    for licence in LICENCES {
        tools::install(&root().join(licence), &sources.join(licence), 0o644)?;
    }
    let built = inputs.scratch.join("built");
    let mut build = command(&python);
    build.args(["-m", "build", "--wheel", "--no-isolation", "--outdir"]).arg(&built).arg(&sources);
    build.env("HUBWARD_BINARY", inputs.binary).env("HUBWARD_VERSION", inputs.version);
    tools::run(build.env("SOURCE_DATE_EPOCH", tools::source_date()?))?;
    let wheel = only_file(&built)?;
    if cfg!(target_os = "linux") {
        set_manylinux_tag(&python, &wheel)?;
    }
    let wheel = only_file(&built)?;
    let name = wheel.file_name().ok_or("the wheel has no name")?;
    let finished = inputs.out.join(name);
    tools::install(&wheel, &finished, 0o644)?;
    Ok(vec![finished])
}

/// Installs the wheel with the commands of the page. Then runs the tests of `tests/dist/python` with the same Python.
fn test(inputs: &Inputs<'_>, packages: &[PathBuf]) -> Result<(), String> {
    let [wheel] = packages else { return Err("there is more than one wheel".to_owned()) };
    let project = root().join("tests/dist/python");
    let pins = project.join("requirements.txt");
    let folder = inputs.scratch.join("first steps");
    tools::empty_folder(&folder)?;
    let constraint = [("PIP_CONSTRAINT", pins.display().to_string())];
    let replace = |word: &str| (word == PACKAGE).then(|| format!("'{}'", wheel.display()));
    first_steps::run(PAGE, &folder, &constraint, replace)?;

    // Like the project of a user, these tests are outside of the repository, and import only what pip has installed.
    let python = folder.join(".venv/bin/python");
    tools::run(pip_install(&python).arg("-r").arg(&pins))?;
    let user = inputs.scratch.join("project");
    tools::install(&project.join("test_emulator.py"), &user.join("test_emulator.py"), 0o644)?;
    for arguments in [&["-m", "mypy", "--strict", "."][..], &["-m", "pytest", "-q", "-W", "ignore", "--durations=3"]] {
        let printed = tools::text(first_steps::as_user(&python, &user).args(arguments))?;
        println!("{}", printed.trim_end());
    }
    Ok(())
}

/// Sets the platform tag of the wheel to a manylinux tag. The tag says which version of glibc the program needs at
/// least; auditwheel finds this version.
fn set_manylinux_tag(python: &Path, wheel: &Path) -> Result<(), String> {
    let mut show = command(python);
    let shown = tools::output(show.args(["-m", "auditwheel", "show", "--json"]).arg(wheel))?;
    let shown: Value = serde_json::from_slice(&shown).map_err(|error| format!("auditwheel: no JSON: {error}"))?;
    let tag = shown["overall_tag"].as_str().ok_or("auditwheel names no tag")?;
    if let Some(line) = without_manylinux_tag(tag) {
        println!("{line}");
        return Ok(());
    }
    tools::run(command(python).args(["-m", "wheel", "tags", "--remove", "--platform-tag", tag]).arg(wheel))
}

/// If auditwheel has found no manylinux tag, returns the line to print. PyPI refuses a wheel with another tag. Users
/// can still install such a wheel from the file.
fn without_manylinux_tag(tag: &str) -> Option<String> {
    let line = || format!("skipped: the wheel gets no manylinux tag, because auditwheel found only the tag {tag}");
    (!tag.starts_with("manylinux")).then(line)
}

/// Makes a virtual environment, and returns its Python.
fn venv(folder: &Path) -> Result<PathBuf, String> {
    tools::run(command("python3").args(["-m", "venv"]).arg(folder))?;
    Ok(folder.join("bin/python"))
}

fn pip_install(python: &Path) -> std::process::Command {
    let mut command = command(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    command
}

/// Copies a folder, without the folders `__pycache__`, which Python writes when it runs from the sources.
fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    for name in tools::file_names(from)? {
        let (source, copy) = (from.join(&name), to.join(&name));
        if name.as_os_str() == "__pycache__" {
            continue;
        }
        if source.is_dir() {
            copy_folder(&source, &copy)?;
        } else {
            tools::install(&source, &copy, 0o644)?;
        }
    }
    Ok(())
}

/// The path of the only file in a folder.
fn only_file(folder: &Path) -> Result<PathBuf, String> {
    match tools::file_names(folder)?.as_slice() {
        [name] => fs::canonicalize(folder.join(name)).map_err(|error| format!("{}: {error}", name.display())),
        names => Err(format!("{} contains {} files instead of one", folder.display(), names.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RELEASING.md` asks the reader to look for lines that begin with `skipped`.
    #[test]
    fn a_missing_manylinux_tag_is_a_skipped_step() {
        assert_eq!(without_manylinux_tag("manylinux_2_34_x86_64"), None);
        let line = without_manylinux_tag("linux_x86_64").expect("a line");
        assert!(line.starts_with("skipped: ") && line.contains(" linux_x86_64"), "{line}");
    }
}
