//! Finds text that tracked files must not contain: paths and settings of one machine, and leftovers.
//!
//! The check reads all tracked files, also this one. So this file must not contain the patterns as they are: the code
//! joins each pattern from two parts.

use super::File;

/// Maximum number of lines of a file. If a file has more lines, its header comment must give the reason.
const LONG: usize = 800;

/// Maximum number of characters in a line of Rust. rustfmt has the same limit, but does not wrap long literals,
/// attributes and comments.
const WIDE: usize = 120;

/// The words that introduce the reason for a long file.
const LONG_REASON: &str = "long because";

/// Beginnings of paths that exist only on one machine, such as the folder of a user.
const MACHINE_PATHS: [&str; 5] =
    [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/tm", "p/")];

/// Hosts of package registries. A file must not name a registry: each machine chooses a registry in its own settings.
const REGISTRIES: [&str; 9] = [
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("deb.", "debian.org"),
    concat!("--index", "-url"),
    concat!("replace", "-with ="),
];

/// Leftovers in Rust code, each with what to do instead.
const LEFTOVERS: [(&str, &str); 5] = [
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("#[ig", "nore"), "make the test fast and reliable, or remove it"),
    (concat!("#[al", "low("), "use `#[expect(…, reason = \"…\")]`"),
    (concat!("#![al", "low("), "use `#![expect(…, reason = \"…\")]`"),
];

/// The call that creates the TLS settings of a client. Only `hubward-dial` may make this call.
const TLS_BUILDER: &str = concat!("ClientConfig::", "builder");

/// Checks every file.
pub(super) fn check(files: &[File]) -> Vec<String> {
    files.iter().flat_map(check_one).collect()
}

fn check_one(file: &File) -> Vec<String> {
    let is_rust = file.path.ends_with(".rs");
    let mut findings = Vec::new();
    if is_rust && file.text.lines().count() > LONG && !has_reason(&file.text) {
        findings.push(format!(
            "{} has more than {LONG} lines; split it, or write `{LONG_REASON} …` in its header",
            file.path
        ));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        let mut add = |what: String| findings.push(format!("{}:{number}: {what}", file.path));
        for pattern in MACHINE_PATHS.iter().filter(|it| has_path(line, it)) {
            add(format!("`{pattern}…` is a path of one machine; use a relative path or a temporary folder"));
        }
        for pattern in REGISTRIES.iter().filter(|it| line.contains(**it)) {
            add(format!("`{pattern}` names a package registry; leave that to each machine's settings"));
        }
        if is_rust {
            for (pattern, instead) in LEFTOVERS.iter().filter(|(it, _)| line.contains(it)) {
                add(format!("`{pattern}` is not allowed; {instead}"));
            }
            if line.contains(TLS_BUILDER) && builds_tls_elsewhere(&file.path) {
                add(format!("only hubward-dial may call `{TLS_BUILDER}`; get the TLS settings from hubward-dial"));
            }
        }
    }
    findings
}

/// Checks the width of the lines, if the file is a Rust file.
pub(super) fn check_width(file: &File) -> Vec<String> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let wide = (1..).zip(file.text.lines()).filter(|(_, line)| line.chars().count() > WIDE);
    let finding = |(number, line): (usize, &str)| {
        let width = line.chars().count();
        format!("{}:{number}: the line has {width} characters; break it after at most {WIDE}", file.path)
    };
    wide.map(finding).collect()
}

/// Whether the header comment gives a reason for the file's length.
fn has_reason(text: &str) -> bool {
    text.lines().take_while(|it| it.starts_with("//!")).any(|it| it.contains(LONG_REASON))
}

/// Whether the line contains a path that begins with `pattern`.
fn has_path(line: &str, pattern: &str) -> bool {
    line.match_indices(pattern).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|it| !(it.is_alphanumeric() || "/._-~*})$>".contains(it)))
    })
}

/// Returns whether a file is source code of a published crate other than `hubward-dial`. Returns `false` for tests.
fn builds_tls_elsewhere(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && !path.starts_with("crates/hubward-dial/")
        && !path.starts_with("crates/hubward-bench/")
        && !path.ends_with("tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: String) -> Vec<String> {
        check(&[File { path: path.to_owned(), text }])
    }

    #[test]
    fn finds_paths_and_registries_of_one_machine() {
        for pattern in MACHINE_PATHS {
            for before in ["", "see ", "\"", "(", "`", "dir="] {
                let findings = check_text("docs/a.md", format!("ok\n{before}{pattern}x"));
                assert!(findings.len() == 1 && findings[0].starts_with("docs/a.md:2: "), "{pattern}: {findings:?}");
            }
            // The same text is allowed inside a longer path or an address.
            for before in ["a", "example.org", ".", "~", "${x}"] {
                assert_eq!(check_text("docs/a.md", format!("{before}{pattern}x")), Vec::<String>::new(), "{pattern}");
            }
        }
        for pattern in REGISTRIES {
            let findings = check_text("x.toml", format!("a = \"https://{pattern}/\""));
            assert!(findings.len() == 1 && findings[0].contains("each machine's settings"), "{findings:?}");
        }
    }

    #[test]
    fn finds_leftovers_in_rust_only() {
        for (pattern, instead) in LEFTOVERS {
            let findings = check_text("crates/hubward/src/a.rs", format!("    {pattern}"));
            assert!(findings.len() == 1 && findings[0].contains(instead), "{pattern}: {findings:?}");
            assert_eq!(check_text("docs/a.md", pattern.to_owned()), Vec::<String>::new());
        }
    }

    #[test]
    fn finds_a_second_place_that_builds_tls_settings() {
        for (path, found) in [
            ("crates/hubward-https/src/lib.rs", true),
            ("crates/hubward-dial/src/tls.rs", false),
            ("crates/hubward-https/src/connect/tests.rs", false),
            ("crates/hubward-https/tests/a.rs", false),
            ("tests/cli/mod.rs", false),
        ] {
            assert_eq!(check_text(path, format!("rustls::{TLS_BUILDER}()")).len(), usize::from(found), "{path}");
        }
    }

    #[test]
    fn finds_lines_that_are_too_wide() {
        let check = |path: &str, text: String| check_width(&File { path: path.to_owned(), text });
        let fits = "é".repeat(WIDE);
        assert_eq!(check("a.rs", format!("{fits}\n{fits}\n")), Vec::<String>::new());
        let findings = check("a.rs", format!("{fits}\n// {fits}"));
        assert_eq!(findings, ["a.rs:2: the line has 123 characters; break it after at most 120"]);
        assert_eq!(check("a.md", format!("{fits}.")), Vec::<String>::new());
    }

    #[test]
    fn a_long_file_needs_a_reason_in_its_header() {
        let body = "fn f() {}\n".repeat(LONG);
        assert_eq!(check_text("a.rs", body.clone()), Vec::<String>::new());
        assert_eq!(check_text("a.rs", format!("//! A table.\n{body}")).len(), 1);
        assert_eq!(check_text("a.rs", format!("//! A table,\n//! {LONG_REASON} so.\n{body}")), Vec::<String>::new());
        assert_eq!(
            check_text("a.rs", format!("//! A table.\n{body}// {LONG_REASON} so")).len(),
            1,
            "not in the header"
        );
        assert_eq!(check_text("a.md", format!("{body}{body}")), Vec::<String>::new());
    }
}
