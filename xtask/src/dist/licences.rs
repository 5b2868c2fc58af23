//! Collects the licences of the crates in the program. Many licences require that each copy of the program contains
//! their text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{FEATURES, Inputs, Kind, tools};
use crate::spawn::Cargo;

pub(super) const KIND: Kind = Kind { name: "licences", build, test };

/// If the name of a file in lower case begins with one of these words, the file contains a licence.
const FILE_NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// A crate in the program.
#[derive(Debug)]
struct Crate {
    /// Name and version, for example `ring v0.17.14`.
    name: String,
    /// The SPDX expression.
    licence: String,
    /// The texts of its licence files.
    texts: Vec<String>,
}

fn build(inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    let file = inputs.out.join("THIRD-PARTY-LICENSES.txt");
    tools::write(&file, text()?)?;
    Ok(vec![file])
}

/// Checks that the file names every crate in the program. Also checks that it contains the text of a licence file: the
/// crate ring has its own licence, so the file must contain this text.
fn test(_inputs: &Inputs<'_>, files: &[PathBuf]) -> Result<(), String> {
    let [file] = files else { return Err("there is not exactly one file".to_owned()) };
    let text = tools::read(file)?;
    for name in linked_crates()? {
        if !text.contains(&format!("\n  {name}: ")) {
            return Err(format!("{name} is missing"));
        }
    }
    let expected = "Permission to use, copy, modify, and/or distribute this software for any";
    if text.contains(expected) { Ok(()) } else { Err("the licence of ring is missing".to_owned()) }
}

/// Returns the licences of all crates in the program. If several crates have the same licence text, the result contains
/// this text only once.
pub(super) fn text() -> Result<String, String> {
    let linked = linked_crates()?;
    let metadata =
        tools::output(&mut Cargo::command(["metadata", "--format-version", "1", "--locked", "--features", FEATURES]))?;
    let metadata: Value =
        serde_json::from_slice(&metadata).map_err(|error| format!("cargo metadata is not JSON: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let crates = packages.map(read_crate).filter(|it| it.as_ref().map_or(true, |it| linked.contains(&it.name)));
    Ok(render(&crates.collect::<Result<Vec<_>, _>>()?))
}

/// Returns the names and versions of the crates that cargo links into the program, without the crates of this
/// repository.
pub(super) fn linked_crates() -> Result<BTreeSet<String>, String> {
    let arguments = "tree --locked --package hubward-cli --edges normal,no-proc-macro --prefix none --no-dedupe";
    let lines = tools::text(Cargo::command(arguments.split(' ')).args(["--features", FEATURES]))?;
    // The crates of this repository have a path after their version.
    let others = lines.lines().filter(|it| !it.contains(" ("));
    Ok(others.map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect())
}

fn read_crate(package: &Value) -> Result<Crate, String> {
    let field = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let name = format!("{} v{}", field("name"), field("version"));
    let manifest = field("manifest_path");
    let folder = Path::new(&manifest).parent().ok_or_else(|| format!("{name} has no folder"))?;
    let is_licence = |file: &&PathBuf| {
        let file = file.to_string_lossy().to_lowercase();
        FILE_NAMES.iter().any(|it| file.starts_with(it)) && !file.ends_with(".rs")
    };
    let files = tools::file_names(folder)?;
    let texts = files.iter().filter(is_licence).filter_map(|it| fs::read_to_string(folder.join(it)).ok());
    let texts = texts.map(|it| it.replace("\r\n", "\n").trim().to_owned()).collect();
    Ok(Crate { name, licence: field("license"), texts })
}

fn render(crates: &[Crate]) -> String {
    let mut lines = vec![
        "The program hubward contains the Rust standard library (MIT OR Apache-2.0) and these crates:".to_owned(),
        String::new(),
    ];
    lines.extend(crates.iter().map(|it| format!("  {}: {}", it.name, it.licence)));
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in crates {
        for text in &one.texts {
            users.entry(text).or_default().push(&one.name);
        }
    }
    let mut texts: Vec<(Vec<&str>, &str)> = users.into_iter().map(|(text, users)| (users, text)).collect();
    texts.sort();
    for (users, text) in texts {
        lines.extend([String::new(), "-".repeat(80), format!("Licence of {}", users.join(", ")), String::new()]);
        lines.push(text.to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program contains clap_mangen only because of its features.
    #[test]
    fn the_crates_of_the_features_are_linked() {
        let crates = linked_crates().expect("the crates");
        assert!(crates.iter().any(|it| it.starts_with("clap_mangen v")), "{crates:?}");
    }

    #[test]
    fn crates_with_the_same_text_share_it() {
        let one = |name: &str, text: &str| Crate {
            name: name.to_owned(),
            licence: "MIT".to_owned(),
            texts: vec![text.to_owned()],
        };
        let text = render(&[one("a v1", "shared"), one("b v2", "own"), one("c v3", "shared")]);
        assert!(text.contains("\n  a v1: MIT\n  b v2: MIT\n  c v3: MIT\n"), "{text}");
        assert!(text.contains("Licence of a v1, c v3\n\nshared\n"), "{text}");
        assert_eq!(text.matches("shared").count(), 1, "{text}");
    }
}
