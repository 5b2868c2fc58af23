//! Finds modules that import each other in a circle. Checks the top modules of a crate, and the child modules of each
//! module.
//!
//! If two modules import each other, a reader must understand both at the same time.
//!
//! The check ignores imports between a module and a module inside it. A parent module has to import its child modules
//! to connect them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::File;
use super::imports::{Import, imports, join};

/// The crates to check.
const CRATES: [&str; 14] = [
    "hubward",
    "hubward-bench",
    "hubward-cli",
    "hubward-dial",
    "hubward-dps",
    "hubward-emulator",
    "hubward-https",
    "hubward-hub",
    "hubward-mqtt",
    "hubward-proto",
    "hubward-sas",
    "hubward-service",
    "hubward-transport",
    "hubward-ws",
];

/// Dependencies ("arrows") between modules with the same parent. The key contains the importing module and then the
/// imported module. The value is the first import that causes this dependency.
type Arrows<'a> = BTreeMap<(&'a str, &'a str), &'a Import>;

/// Checks the sources of each crate in the list.
pub(super) fn check(files: &[File]) -> Vec<String> {
    CRATES.iter().flat_map(|name| check_crate(name, files)).collect()
}

fn check_crate(name: &str, files: &[File]) -> Vec<String> {
    let folder = format!("crates/{name}/src/");
    let files: Vec<_> = files.iter().filter(|it| it.path.starts_with(&folder)).collect();
    if files.is_empty() {
        return vec![format!("found no files in {folder}; correct the list in xtask/src/tidy/cycles.rs")];
    }
    let imports = imports(&files);
    let mut levels: BTreeMap<String, Arrows<'_>> = BTreeMap::new();
    for import in &imports {
        if let Some((parent, from, to)) = arrow(&import.module, &import.target_module) {
            levels.entry(parent).or_default().entry((from, to)).or_insert(import);
        }
    }
    levels.iter().flat_map(|(parent, arrows)| circles(parent, arrows)).map(|it| format!("{name}: {it}")).collect()
}

/// Returns the arrow that an import causes, as the parent module and the names of two of its child modules.
///
/// Example: if `a::b::c` imports from `a::d`, the result is the parent `a` and the arrow from `b` to `d`. If one
/// module is inside of the other, returns `None`.
fn arrow<'a>(from: &'a str, to: &'a str) -> Option<(String, &'a str, &'a str)> {
    let mut parent = String::new();
    let mut ends = from.split("::").zip(to.split("::"));
    loop {
        let (from, to) = ends.next()?;
        if from.is_empty() || to.is_empty() {
            return None;
        }
        if from != to {
            return Some((parent, from, to));
        }
        parent = join(&parent, from);
    }
}

/// Finds the groups of modules that import each other in a circle. Returns one sentence for each group. The sentence
/// shows a shortest circle of the group.
fn circles(parent: &str, arrows: &Arrows<'_>) -> Vec<String> {
    let modules: BTreeSet<_> = arrows.keys().map(|(from, _)| *from).collect();
    let mut found = Vec::new();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let mut shortest: Vec<_> = modules.iter().filter_map(|it| way(it, it, arrows)).collect();
    shortest.sort_by_key(Vec::len);
    for circle in shortest {
        if circle.iter().any(|it| named.contains(it)) {
            continue;
        }
        let group: Vec<&str> = modules.iter().filter(|it| is_group(circle[0], it, arrows)).copied().collect();
        found.push(sentence(parent, &circle, &group, arrows));
        named.extend(group);
    }
    found
}

fn sentence(parent: &str, circle: &[&str], group: &[&str], arrows: &Arrows<'_>) -> String {
    let next = circle.iter().skip(1).chain(&circle[..1]);
    let links: Vec<_> = circle
        .iter()
        .zip(next)
        .map(|(from, to)| {
            let import = arrows[&(*from, *to)];
            format!("`{from}` takes `{}` ({}:{})", import.target, import.file, import.line)
        })
        .collect();
    let others: Vec<_> = group.iter().filter(|it| !circle.contains(it)).map(|it| format!("`{it}`")).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!(" (and through longer circles {})", others.join(", ")),
    };
    let place = if parent.is_empty() { "the crate".to_owned() } else { format!("`{parent}`") };
    format!(
        "modules of {place} import each other: {}{others}; move what they share into a module below all of them",
        links.join(", ")
    )
}

/// Whether two modules reach each other.
fn is_group(first: &str, second: &str, arrows: &Arrows<'_>) -> bool {
    way(first, second, arrows).is_some() && way(second, first, arrows).is_some()
}

/// Returns a shortest path from `from` to `to`, without `to`. The path has at least one arrow. If `from` and `to` are
/// the same module, the path is a circle.
fn way<'a>(from: &'a str, to: &str, arrows: &Arrows<'a>) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([from]);
    while let Some(module) = waiting.pop_front() {
        for (_, next) in arrows.keys().filter(|(start, _)| *start == module) {
            if *next == to {
                let mut way = vec![module];
                while let Some(earlier) = before.get(way[way.len() - 1]).filter(|_| way[way.len() - 1] != from) {
                    way.push(earlier);
                }
                way.reverse();
                return Some(way);
            }
            if *next != from && !before.contains_key(next) {
                before.insert(next, module);
                waiting.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings for the files of one crate.
    fn check_files(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File {
            path: format!("crates/hubward-cli/src/{path}"),
            text: (*text).to_owned(),
        };
        check_crate("hubward-cli", &files.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn finds_a_circle_of_two() {
        let findings =
            check_files(&[("a.rs", "\nuse crate::b::X;"), ("b.rs", "fn f() { crate::a::f() }"), ("main.rs", "")]);
        let expected = "hubward-cli: modules of the crate import each other: \
                        `a` takes `b::X` (crates/hubward-cli/src/a.rs:2), \
                        `b` takes `a::f` (crates/hubward-cli/src/b.rs:1); \
                        move what they share into a module below all of them";
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn finds_a_circle_of_three_once() {
        let files = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::{a::A, d::D};")];
        let findings = check_files(&files);
        assert!(findings.len() == 1 && findings[0].contains("`a` takes `b::B`"), "{findings:?}");
        assert!(findings[0].contains("`b` takes") && findings[0].contains("`c` takes"), "{findings:?}");
    }

    #[test]
    fn names_the_shortest_circle_of_a_group_and_each_group() {
        let files = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::{a::A, d::D};"),
            ("d.rs", "use crate::c::C;"),
            ("e.rs", "use crate::f::F;"),
            ("f.rs", "use crate::e::E;"),
        ];
        let findings = check_files(&files);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("`c` takes `d::D`") && !findings[0].contains("`a` takes"), "{findings:?}");
        assert!(findings[0].contains("(and through longer circles `a`, `b`)"), "{findings:?}");
        assert!(findings[1].contains("`e` takes `f::F`"), "{findings:?}");
    }

    #[test]
    fn finds_circles_in_a_folder_and_between_folders() {
        for files in [
            // Siblings, with different spellings of the path.
            [("a/b.rs", "use super::c::C;"), ("a/c.rs", "use crate::a::b::B;")],
            [("a/b.rs", "use super::{super::{a::{c::C}}};"), ("a/c.rs", "use super::b::B;")],
            [("a/b/mod.rs", "use super::c as x;"), ("a/c.rs", "use super::super::a::b::X;")],
            [("a/b.rs", "use super as up; fn f() { up::c::f() }"), ("a/c.rs", "use super::b::X;")],
            // Modules deep inside of two siblings.
            [("a/b/d/e.rs", "use crate::a::c::X;"), ("a/c/f.rs", "use super::super::b::X;")],
            // Modules in two folders at the top.
            [("b/d.rs", "use crate::c::e::X;"), ("c/f.rs", "use super::super::b::g::X;")],
        ] {
            let others = [("main.rs", ""), ("a/mod.rs", ""), ("a/c.rs", ""), ("b/mod.rs", ""), ("c/mod.rs", "")];
            let others = others.into_iter().filter(|it| files.iter().all(|(path, _)| *path != it.0));
            let more = [("a/b/mod.rs", ""), ("a/c/mod.rs", ""), ("c/e.rs", ""), ("b/g.rs", "")];
            let more = more.into_iter().filter(|it| files.iter().all(|(path, _)| *path != it.0));
            let findings = check_files(&others.chain(more).chain(files).collect::<Vec<_>>());
            assert_eq!(findings.len(), 1, "{files:?}: {findings:?}");
        }
    }

    #[test]
    fn finds_a_circle_through_a_name_that_the_parent_passes_on() {
        let files =
            [("a/mod.rs", "mod b; mod c; use b::X;"), ("a/b.rs", "use super::c::Y;"), ("a/c.rs", "use super::X;")];
        assert_eq!(check_files(&files).len(), 1, "{:?}", check_files(&files));
    }

    #[test]
    fn a_parent_and_its_child_are_no_circle() {
        let files = [
            ("main.rs", "mod a; use a::X;"),
            ("a/mod.rs", "mod b; use b::X; fn f() { crate::f() }"),
            ("a/b.rs", "use super::Y; use crate::Z; use crate::c::X;"),
            ("c.rs", "use crate::d::X;"),
            ("d.rs", "#[cfg(test)] mod tests { use crate::a::X; }"),
        ];
        assert_eq!(check_files(&files), Vec::<String>::new());
    }

    #[test]
    fn a_crate_in_the_list_has_files() {
        assert!(check_crate("hubward-gone", &[])[0].contains("no files in crates/hubward-gone/src/"));
    }
}
