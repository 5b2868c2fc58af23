//! Checks the file of a module that has child modules. This file must be `name/mod.rs`, not `name.rs` next to the
//! folder `name`.

use std::collections::BTreeSet;

/// Checks the paths of all files.
pub(super) fn check<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let rust = paths.filter(|it| it.ends_with(".rs"));
    let folders: BTreeSet<&str> = rust.clone().filter_map(|it| Some(it.rsplit_once('/')?.0)).collect();
    rust.filter_map(|path| {
        let module = path.strip_suffix(".rs")?;
        let inside = format!("{module}/");
        let has_children = folders.contains(module) || folders.iter().any(|it| it.starts_with(&inside));
        has_children.then(|| format!("{path} has child modules; rename it to {module}/mod.rs"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_module_beside_its_folder() {
        let paths = [
            "crates/a/src/lib.rs",
            "crates/a/src/b.rs",
            "crates/a/src/b/c/d.rs",
            "crates/a/src/b/c.rs",
            "crates/a/src/bc.rs",
            "crates/a/src/e/mod.rs",
            "crates/a/src/e/f.rs",
            "crates/a/src/g.rs",
            "crates/a/src/g/text.txt",
            "crates/a/tests/it.rs",
            "crates/a/tests/it/h.rs",
        ];
        assert_eq!(
            check(paths.into_iter()),
            [
                "crates/a/src/b.rs has child modules; rename it to crates/a/src/b/mod.rs",
                "crates/a/src/b/c.rs has child modules; rename it to crates/a/src/b/c/mod.rs",
                "crates/a/tests/it.rs has child modules; rename it to crates/a/tests/it/mod.rs",
            ]
        );
    }
}
