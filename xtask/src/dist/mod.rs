//! `cargo xtask dist`: builds the packages that people download, and tests them.

mod arguments;
mod deb;
mod first_steps;
mod image;
mod licences;
mod npm;
mod report;
mod sbom;
mod tools;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::spawn::{Cargo, show_and_run};
use arguments::{Arguments, Program};
use report::Report;

/// All kinds, in the order of the output.
pub(crate) const KINDS: &[Kind] = &[wheel::KIND, npm::KIND, deb::KIND, image::KIND, sbom::KIND, licences::KIND];

/// The features of the program in the packages. The lists of its crates and licences must use the same features.
const FEATURES: &str = "hubward-cli/man-pages";

/// What a package is built from.
pub(crate) struct Inputs<'a> {
    /// The program `hubward`, built for this machine, without symbols.
    pub(crate) binary: &'a Path,
    /// The folder for the finished packages.
    pub(crate) out: &'a Path,
    /// An empty folder for intermediate files.
    pub(crate) scratch: &'a Path,
    /// The version of the workspace, for example `0.1.0`.
    pub(crate) version: &'a str,
}

/// One kind of package.
pub(crate) struct Kind {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    /// Builds the packages into `out`, and returns their paths.
    pub(crate) build: fn(&Inputs<'_>) -> Result<Vec<PathBuf>, String>,
    /// Installs the built packages in an empty place, such as a new folder, and uses them as a user does.
    pub(crate) test: fn(&Inputs<'_>, &[PathBuf]) -> Result<(), String>,
}

/// Runs `cargo xtask dist`. If the arguments are invalid, the error says why.
pub(crate) fn dist(arguments: &[String]) -> Result<ExitCode, String> {
    let names: Vec<&str> = KINDS.iter().map(|it| it.name).collect();
    let arguments = arguments::parse(arguments, &names)?;
    Ok(match build_all(&arguments) {
        Ok(report) => {
            println!("\n{report}");
            if report.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("xtask dist: {problem}");
            ExitCode::FAILURE
        }
    })
}

/// Builds every chosen kind, and tests it if requested. If one kind fails, continues with the next one.
fn build_all(arguments: &Arguments) -> Result<Report, String> {
    let metadata = Cargo::metadata()?;
    let target = PathBuf::from(metadata["target_directory"].as_str().ok_or("cargo metadata names no target folder")?);
    let version = version(&metadata)?;
    // Not `target/dist`: that is the folder of cargo's profile `dist`.
    let (out, scratch) = (target.join("packages"), target.join("packages-scratch"));
    for folder in [&out, &scratch] {
        tools::empty_folder(folder)?;
    }
    let binary = scratch.join("hubward");
    without_symbols(&program(&arguments.program)?, &binary)?;

    let mut report = Report::default();
    for kind in KINDS.iter().filter(|it| arguments.includes(it.name)) {
        println!("\n== {}", kind.name);
        report.add(kind.name, build_one(kind, &binary, &version, [&out, &scratch], arguments.test));
    }
    checksums(&out)?;
    Ok(report)
}

/// Builds the packages of one kind and prints their sizes. With `is_test`, also tests them.
fn build_one(
    kind: &Kind,
    binary: &Path,
    version: &str,
    [out, scratch]: [&Path; 2],
    is_test: bool,
) -> Result<(), String> {
    let step = |name: &str| {
        let scratch = scratch.join(kind.name).join(name);
        tools::empty_folder(&scratch).map(|()| scratch)
    };
    let scratch = step("build")?;
    let packages = (kind.build)(&Inputs { binary, out, scratch: &scratch, version })?;
    if packages.is_empty() {
        return Err("the build made no file".to_owned());
    }
    for package in &packages {
        println!("{}", report::size_line(package)?);
    }
    if is_test {
        let scratch = step("test")?;
        (kind.test)(&Inputs { binary, out, scratch: &scratch, version }, &packages)
            .map_err(|problem| format!("the test failed: {problem}"))?;
    }
    Ok(())
}

/// Builds `hubward` with this profile and the features of the packages, and returns its path.
pub(crate) fn build_program(profile: &str) -> Result<PathBuf, String> {
    let arguments = ["build", "--locked", "--profile", profile, "--package", "hubward-cli", "--features", FEATURES];
    if !show_and_run(&mut Cargo::command(arguments)).is_success() {
        return Err("cargo could not build hubward; see above".to_owned());
    }
    Ok(Cargo::target_directory()?.join(profile).join(format!("hubward{}", std::env::consts::EXE_SUFFIX)))
}

/// Returns the path of the program to pack. If the user has given no path, builds the program first.
fn program(program: &Program) -> Result<PathBuf, String> {
    match program {
        Program::File(path) if path.is_file() => Ok(path.clone()),
        Program::File(path) => Err(format!("--binary: there is no file {}", path.display())),
        Program::Profile(profile) => build_program(profile),
    }
}

/// Copies the program without its symbols. A program built with the profile `dist` has none, but a test may use another
/// profile.
fn without_symbols(from: &Path, to: &Path) -> Result<(), String> {
    tools::run(Command::new("strip").args(["--strip-all", "-o"]).args([to, from]))
}

/// The common version of the published crates.
fn version(metadata: &Value) -> Result<String, String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut versions = packages.filter(|it| it["name"] == "hubward-cli").filter_map(|it| it["version"].as_str());
    versions.next().map(str::to_owned).ok_or_else(|| "cargo metadata names no package hubward-cli".to_owned())
}

/// Writes `SHA256SUMS`. `sha256sum --check SHA256SUMS` verifies it.
fn checksums(out: &Path) -> Result<(), String> {
    let names = tools::file_names(out)?;
    if names.is_empty() {
        return Ok(());
    }
    let sums = tools::output(Command::new("sha256sum").arg("--").args(names).current_dir(out))?;
    tools::write(&out.join("SHA256SUMS"), sums)
}
