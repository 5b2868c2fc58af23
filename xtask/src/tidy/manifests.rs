//! Checks that a manifest has the fields that users and crates.io need.

use super::packages::Package;

/// Checks every package. A package that is not published needs fewer fields than a published package.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|it| check_one(it).into_iter().map(move |todo| format!("{}: {todo}", it.manifest)))
        .collect()
}

fn check_one(package: &Package) -> Vec<String> {
    let mut todo = Vec::new();
    let mut need = |holds: bool, what: &str| {
        if !holds {
            todo.push(what.to_owned());
        }
    };
    need(package.has_workspace_lints, "add `[lints]` with `workspace = true`");
    need(package.license.is_some(), "add `license.workspace = true`");
    need(package.rust_version.is_some(), "add `rust-version.workspace = true`");
    need(is_sentence(package.description.as_deref()), "add a `description` of one sentence");
    if package.is_published {
        let keywords = &package.keywords;
        need((1..=5).contains(&keywords.len()), "give it 1 to 5 `keywords`");
        need(keywords.iter().all(|it| it.len() <= 20), "shorten the `keywords` to 20 characters each");
        need((1..=5).contains(&package.categories.len()), "give it 1 to 5 `categories`");
        need(package.readme.is_some(), "add `readme = \"README.md\"`");
        need(package.readme.is_none() || package.readme_exists, "write the README that `readme` names");
        need(package.has_docs_rs, "add `[package.metadata.docs.rs]`");
    }
    todo
}

fn is_sentence(text: Option<&str>) -> bool {
    text.is_some_and(|it| it.len() > 10 && it.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Package {
        Package {
            name: "hubward-x".into(),
            manifest: "crates/hubward-x/Cargo.toml".into(),
            is_published: true,
            description: Some("A crate that does something.".into()),
            keywords: vec!["azure".into()],
            categories: vec!["encoding".into()],
            readme: Some("README.md".into()),
            readme_exists: true,
            rust_version: Some("1.95".into()),
            license: Some("MIT".into()),
            has_docs_rs: true,
            has_workspace_lints: true,
            ..Package::default()
        }
    }

    #[test]
    fn names_each_missing_field() {
        assert_eq!(check(&[complete()]), Vec::<String>::new());
        type Break = fn(&mut Package);
        let cases: [(Break, &str); 11] = [
            (|it| it.description = None, "add a `description`"),
            (|it| it.description = Some("x".into()), "add a `description`"),
            (|it| it.keywords.clear(), "1 to 5 `keywords`"),
            (|it| it.keywords = vec!["a-keyword-that-is-too-long".into()], "shorten the `keywords`"),
            (|it| it.categories.clear(), "`categories`"),
            (|it| it.readme = None, "add `readme"),
            (|it| it.readme_exists = false, "write the README"),
            (|it| it.rust_version = None, "`rust-version"),
            (|it| it.license = None, "`license"),
            (|it| it.has_docs_rs = false, "docs.rs"),
            (|it| it.has_workspace_lints = false, "`[lints]`"),
        ];
        for (break_it, expected) in cases {
            let mut package = complete();
            break_it(&mut package);
            let findings = check(&[package]);
            assert!(findings.len() == 1 && findings[0].contains(expected), "{expected}: {findings:?}");
            assert!(findings[0].starts_with("crates/hubward-x/Cargo.toml: "), "{findings:?}");
        }
    }

    #[test]
    fn an_unpublished_package_needs_fewer_fields() {
        let private = Package {
            is_published: false,
            keywords: vec![],
            categories: vec![],
            readme: None,
            readme_exists: false,
            has_docs_rs: false,
            ..complete()
        };
        assert_eq!(check(&[private]), Vec::<String>::new());
    }
}
