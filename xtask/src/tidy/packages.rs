//! The workspace's packages, with the fields that the rules check.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A package of the workspace.
#[derive(Debug, Clone, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// The path of the manifest from the root of the repository.
    pub(super) manifest: String,
    pub(super) is_published: bool,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) description: Option<String>,
    pub(super) keywords: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) readme: Option<String>,
    /// Whether the file that `readme` names exists.
    pub(super) readme_exists: bool,
    pub(super) rust_version: Option<String>,
    pub(super) license: Option<String>,
    /// Whether the manifest has `[package.metadata.docs.rs]`.
    pub(super) has_docs_rs: bool,
    /// Whether the manifest has `[lints] workspace = true`.
    pub(super) has_workspace_lints: bool,
}

/// A dependency of a package.
#[derive(Debug, Clone)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Whether only tests, examples and benches use the dependency.
    pub(super) is_dev: bool,
}

/// Parses the output of `cargo metadata --no-deps`. Also reads each manifest, for the fields that this output does
/// not contain.
pub(super) fn read(metadata: &Value) -> Result<Vec<Package>, String> {
    let root = Path::new(metadata["workspace_root"].as_str().ok_or("cargo metadata names no workspace root")?);
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    packages.iter().map(|it| package(root, it)).collect()
}

fn package(root: &Path, value: &Value) -> Result<Package, String> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let list = |name: &str| -> Vec<String> {
        let items = value[name].as_array().into_iter().flatten();
        items.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let name = text("name").ok_or("cargo metadata has a package without a name")?;
    let path = Path::new(value["manifest_path"].as_str().ok_or_else(|| format!("{name} has no manifest path"))?);
    let manifest = fs::read_to_string(path).map_err(|error| format!("cannot read the manifest of {name}: {error}"))?;
    let readme = text("readme");
    let dependencies = value["dependencies"].as_array().into_iter().flatten().filter_map(|it| {
        Some(Dependency { name: it["name"].as_str()?.to_owned(), is_dev: it["kind"].as_str() == Some("dev") })
    });
    Ok(Package {
        manifest: path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/"),
        // `null` allows every registry; an empty list allows none.
        is_published: value["publish"].as_array().is_none_or(|it| !it.is_empty()),
        dependencies: dependencies.collect(),
        description: text("description"),
        keywords: list("keywords"),
        categories: list("categories"),
        readme_exists: readme.as_ref().is_some_and(|it| path.with_file_name(it).is_file()),
        readme,
        rust_version: text("rust_version"),
        license: text("license"),
        has_docs_rs: value["metadata"]["docs"]["rs"].is_object(),
        has_workspace_lints: has_workspace_lints(&manifest),
        name,
    })
}

/// Returns whether a manifest inherits the lints of the workspace. The output of `cargo metadata` does not contain this
/// information.
fn has_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|it| *it != "[lints]").skip(1);
    let mut table = std::iter::from_fn(|| lines.next().filter(|it| !it.starts_with('[')));
    table.any(|it| it.replace(' ', "") == "workspace=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_inherited_lints() {
        for (manifest, expected) in [
            ("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n", true),
            ("[lints]\n# ours\nworkspace=true", true),
            ("[package]\nversion.workspace = true\n", false),
            ("[lints]\n\n[dependencies]\nworkspace = true\n", false),
            ("[lints.rust]\nworkspace = true\n", false),
            ("", false),
        ] {
            assert_eq!(has_workspace_lints(manifest), expected, "{manifest:?}");
        }
    }
}
