//! Checks that the index of the documents has a link to every decision note.

/// Checks that each decision note in `paths` has a link in at least one of the `indexes`.
pub(super) fn check<'a>(paths: impl Iterator<Item = &'a str>, indexes: &[&str]) -> Vec<String> {
    let notes = paths.filter_map(|it| it.strip_prefix("docs/decisions/")).filter(|it| it.ends_with(".md"));
    notes
        .filter(|note| !indexes.iter().any(|it| it.contains(&format!("decisions/{note}"))))
        .map(|note| format!("docs/decisions/{note} is not linked; link it from docs/README.md"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_note_without_a_link() {
        let paths = ["docs/decisions/0001-a.md", "docs/decisions/0002-b.md", "docs/testing.md", "docs/decisions/x.svg"];
        let findings = check(paths.into_iter(), &["see [a](decisions/0001-a.md)", ""]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("docs/decisions/0002-b.md is not linked"), "{findings:?}");
    }
}
