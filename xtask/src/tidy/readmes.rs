//! Checks that the README of a published crate has no relative links. On crates.io, such a link does not work.

use super::File;

/// The texts that come directly before the target of a link, in Markdown and in HTML.
const BEFORE_TARGET: [&str; 4] = ["](", "]: ", "href=\"", "src=\""];

/// The beginnings of targets that work everywhere.
const ABSOLUTE: [&str; 3] = ["https://", "#", "mailto:"];

/// Checks the README of each crate.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let readmes = files.iter().filter(|it| it.path.starts_with("crates/") && it.path.ends_with("/README.md"));
    readmes.flat_map(check_one).collect()
}

fn check_one(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    let mut is_code = false;
    for (number, line) in (1..).zip(file.text.lines()) {
        is_code ^= line.trim_start().starts_with("```");
        let targets = BEFORE_TARGET.iter().flat_map(|before| line.split(before).skip(1));
        for target in targets.filter(|it| !is_code && !ABSOLUTE.iter().any(|absolute| it.starts_with(absolute))) {
            let target = target.split([')', '"', ' ']).next().unwrap_or_default();
            findings.push(format!(
                "{}:{number}: the link to `{target}` breaks outside of the repository; name the file in words, or use \
                 an https address",
                file.path
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_relative_links_in_the_readme_of_a_crate() {
        let check = |path: &str, text: &str| check(&[File { path: path.to_owned(), text: text.to_owned() }]);
        for text in ["[a](../../docs/a.md)", "x [a](docs/a.md), y", "[a]: docs/a.md", "<img src=\"docs/a.png\">"] {
            let findings = check("crates/hubward/README.md", &format!("# a\n{text}\n"));
            assert!(findings.len() == 1 && findings[0].starts_with("crates/hubward/README.md:2: "), "{findings:?}");
            assert!(findings[0].contains("`../../docs/a.") || findings[0].contains("`docs/a."), "{findings:?}");
            assert_eq!(check("README.md", text), Vec::<String>::new());
            assert_eq!(check("crates/hubward/README.md", &format!("```rust\n{text}\n```")), Vec::<String>::new());
        }
        let text = "[a](https://docs.rs/a) [b](#b) `docs/a.md`\n[c]: https://docs.rs/c";
        assert_eq!(check("crates/hubward/README.md", text), Vec::<String>::new());
    }
}
