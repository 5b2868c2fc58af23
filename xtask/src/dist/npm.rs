//! Builds two npm packages: `hubward` with the launcher and `startEmulator`, and a package with the program for this
//! platform.
//!
//! The platform packages are optional dependencies of `hubward`, so npm installs only the one for the user's platform.
//! esbuild uses the same structure.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Inputs, Kind, first_steps, tools};
use crate::spawn::{command, root};

pub(crate) const KIND: Kind = Kind { name: "npm", build, test };

const SOURCES: &str = "dist/npm";
const PAGE: &str = "docs/node.md";
const PROJECT: &str = "tests/dist/node";
/// The package that a user installs. The commands on the page contain its name as a word, which the test replaces.
const MAIN: &str = "hubward";
/// The platform packages. Each entry contains the folder in [`SOURCES`], the operating system, the architecture, and
/// the path of the program in the package.
const PLATFORMS: &[(&str, &str, &str, &str)] = &[("linux-x64", "linux", "x86_64", "bin/hubward")];
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];
/// The version in the source files of the packages. The build replaces it by the version of hubward.
const PLACEHOLDER: &str = "\"0.0.0\"";

fn build(inputs: &Inputs<'_>) -> Result<Vec<PathBuf>, String> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let (platform, program) = PLATFORMS
        .iter()
        .find(|it| (it.1, it.2) == (os, architecture))
        .map(|it| (it.0, it.3))
        .ok_or_else(|| format!("there is no folder of {SOURCES} for {os} on {architecture}"))?;
    let folders = [MAIN, platform].map(|name| (name, inputs.scratch.join(name)));
    for (name, folder) in &folders {
        stage(&root().join(SOURCES).join(name), folder)?;
        let manifest = folder.join("package.json");
        let version = format!("\"{}\"", inputs.version);
        tools::write(&manifest, tools::read(&manifest)?.replace(PLACEHOLDER, &version))?;
        for licence in LICENCES {
            tools::install(&root().join(licence), &folder.join(licence), 0o644)?;
        }
    }
    tools::install(inputs.binary, &folders[1].1.join(program), 0o755)?;
    folders.iter().map(|(_, folder)| pack(folder, inputs.out)).collect()
}

/// Installs both packages with the commands of the page. Then installs them for a second project, with the files of
/// `tests/dist/node`, and runs its tests.
fn test(inputs: &Inputs<'_>, packages: &[PathBuf]) -> Result<(), String> {
    let pins = tools::read(&root().join(PROJECT).join("pins.json"))?;
    let pins: Value = serde_json::from_str(&pins).map_err(|error| format!("pins.json: {error}"))?;
    let folder = inputs.scratch.join("first steps");
    tools::empty_folder(&folder)?;
    let files: Vec<String> = packages.iter().map(|it| format!("'{}'", it.display())).collect();
    first_steps::run(PAGE, &folder, &quiet(), |word| match word {
        MAIN => Some(files.join(" ")),
        _ => pins[word].as_str().map(|version| format!("{word}@{version}")),
    })?;

    // The second project is like that of a user: outside of the repository, with only the packages that npm installs.
    let user = inputs.scratch.join("project");
    for file in ["emulator.test.js", "types.ts"] {
        tools::install(&root().join(PROJECT).join(file), &user.join(file), 0o644)?;
    }
    let pinned = pins.as_object().into_iter().flatten();
    let pinned = pinned.filter_map(|(name, version)| Some(format!("{name}@{}", version.as_str()?)));
    let mut install = first_steps::as_user("npm", &user);
    tools::run(install.arg("install").args(packages).args(pinned).envs(quiet()))?;
    let compiler = user.join("node_modules/typescript/bin/tsc");
    for module in ["commonjs", "node16"] {
        let mut compile = first_steps::as_user("node", &user);
        compile.arg(&compiler).args(["--noEmit", "--strict", "--target", "es2022", "--types", "node"]);
        if module == "node16" {
            compile.args(["--moduleResolution", "node16"]);
        }
        tools::run(compile.args(["--module", module, "types.ts"]))?;
    }
    let printed = tools::text(first_steps::as_user("node", &user).args(["--test", "--test-reporter=spec"]))?;
    println!("{}", printed.trim_end());
    Ok(())
}

/// Copies the sources of a package. The files in its folder `bin` become executable.
fn stage(from: &Path, to: &Path) -> Result<(), String> {
    for name in tools::file_names(from)? {
        let (source, copy) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            stage(&source, &copy)?;
        } else {
            let is_program = from.file_name().is_some_and(|it| it == "bin");
            tools::install(&source, &copy, if is_program { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// Packs a folder, and returns the path of the package.
fn pack(folder: &Path, out: &Path) -> Result<PathBuf, String> {
    let mut pack = command("npm");
    pack.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"]).arg(out).arg(folder);
    let name = tools::text(&mut pack)?;
    Ok(out.join(name.trim()))
}

/// The variables that make npm quiet: it does not audit the packages, ask for donations, or look for a newer npm.
fn quiet() -> [(&'static str, String); 3] {
    ["npm_config_audit", "npm_config_fund", "npm_config_update_notifier"].map(|name| (name, "false".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// npm installs exactly these dependencies. A platform package of another version would contain another program. A
    /// platform package that we do not build could be a package of another publisher.
    #[test]
    fn the_main_package_depends_on_exactly_the_platforms_that_are_built() {
        let manifest = tools::read(&root().join(SOURCES).join(MAIN).join("package.json")).expect("the manifest");
        let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
        let listed = manifest["optionalDependencies"].as_object().expect("an object");
        let built: Vec<String> = PLATFORMS.iter().map(|it| format!("@hubward/{}", it.0)).collect();
        assert_eq!(listed.keys().collect::<Vec<_>>(), built.iter().collect::<Vec<_>>());
        for (folder, ..) in PLATFORMS {
            let text = tools::read(&root().join(SOURCES).join(folder).join("package.json")).expect("a manifest");
            assert!(text.contains(&format!("\"@hubward/{folder}\"")) && text.contains(PLACEHOLDER), "{folder}");
        }
        assert!(listed.values().all(|it| it == "0.0.0") && manifest["version"] == "0.0.0");
    }
}
