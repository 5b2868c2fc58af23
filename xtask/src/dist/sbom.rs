//! Builds the software bill of materials (SBOM, in the format CycloneDX). It lists every crate in the program, with
//! version, licence and checksum.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{FEATURES, Inputs, Kind, licences, tools};
use crate::spawn::{Cargo, root};

pub(super) const KIND: Kind = Kind { name: "sbom", build, test };

/// The files that cargo-cyclonedx reads. It writes its output beside each `Cargo.toml`. To keep the repository clean,
/// the build runs it on a copy of these files.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "crates", "tests", "xtask"];

/// The output for the program `hubward`, in the copy.
const OUTPUT: &str = "crates/hubward-cli/hubward_bin.cdx.json";

fn build(inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    if !Cargo::has("cyclonedx") {
        return Err("cargo-cyclonedx is not installed; cargo install --locked cargo-cyclonedx".to_owned());
    }
    let copy = inputs.scratch.join("copy");
    tools::make_folder(&copy)?;
    let sources = SOURCES.map(|it| root().join(it));
    tools::run(Command::new("cp").args(["-R", "--"]).args(sources).arg(&copy))?;
    let mut cyclonedx = Cargo::command("cyclonedx --quiet --format json --spec-version 1.5".split(' '));
    cyclonedx.args(["--describe", "binaries", "--no-build-deps", "--manifest-path", "crates/hubward-cli/Cargo.toml"]);
    cyclonedx.args(["--features", FEATURES]);
    tools::run(cyclonedx.current_dir(&copy).env("SOURCE_DATE_EPOCH", tools::source_date()?))?;
    let file = inputs.out.join(format!("hubward_{}.cdx.json", inputs.version));
    tools::write(&file, without_folder(&tools::read(&copy.join(OUTPUT))?, &copy))?;
    Ok(vec![file])
}

/// Replaces the path of the copy in the identifiers of our crates, because it is a path on this machine.
fn without_folder(text: &str, folder: &Path) -> String {
    text.replace(&format!("file://{}/", folder.display()), "file:///hubward/")
}

/// Checks that the SBOM describes this version of hubward, and lists every crate that cargo links into the program.
fn test(inputs: &Inputs<'_>, files: &[PathBuf]) -> Result<(), String> {
    let [file] = files else { return Err("there is not exactly one file".to_owned()) };
    let text = tools::read(file)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("the file is not JSON: {error}"))?;
    let described = &value["metadata"]["component"];
    if value["bomFormat"] != "CycloneDX" || described["name"] != "hubward" || described["version"] != inputs.version {
        return Err(format!("the file does not describe hubward {}: {described}", inputs.version));
    }
    check_components(value["components"].as_array().map_or(&[][..], |it| it), licences::linked_crates()?)?;
    let folder = root().display().to_string();
    if text.contains(&folder) { Err(format!("the file contains the path {folder}")) } else { Ok(()) }
}

/// Checks that each of the crates is a component with a licence and a checksum.
fn check_components(components: &[Value], crates: impl IntoIterator<Item = String>) -> Result<(), String> {
    let field = |component: &Value, name: &str| component[name].as_str().unwrap_or_default().to_owned();
    for name in crates {
        let is_it = |it: &&Value| format!("{} v{}", field(it, "name"), field(it, "version")) == name;
        let component = components.iter().find(is_it).ok_or_else(|| format!("{name} is not a component"))?;
        for list in ["licenses", "hashes"] {
            if component[list].as_array().is_none_or(Vec::is_empty) {
                return Err(format!("{name} has no {list}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_a_missing_crate_and_an_incomplete_component() {
        let complete = json!({"name": "a", "version": "1.0.0", "licenses": [{}], "hashes": [{}]});
        let without_hash = json!({"name": "b", "version": "2.0.0", "licenses": [{}]});
        let components = [complete, without_hash];
        let check = |name: &str| check_components(&components, [name.to_owned()]);
        assert_eq!(check("a v1.0.0"), Ok(()));
        assert_eq!(check("a v1.0.1"), Err("a v1.0.1 is not a component".to_owned()));
        assert_eq!(check("b v2.0.0"), Err("b v2.0.0 has no hashes".to_owned()));
    }

    #[test]
    fn removes_the_folder_of_the_copy() {
        let text = without_folder("path+file:///a/copy/crates/hubward#0.1.0", Path::new("/a/copy"));
        assert_eq!(text, "path+file:///hubward/crates/hubward#0.1.0");
    }
}
