//! Finds the imports between the modules of a crate. Reads the `use` declarations, and the paths in expressions and
//! types.
//!
//! Ignores test code, comments and strings, including the strings of attributes.
//!
//! Follows renames and re-exports inside the crate, so the target of an import is in the module that owns the item.
//!
//! A glob import (`use module::*`) counts as one import of the module. The check does not know which names come from a
//! glob import, so it does not follow them.

use std::collections::{BTreeMap, BTreeSet};

use super::File;
use super::tokens::{Kind, Token, tokens};

/// Maximum number of renames to follow for one path. The code treats a longer chain as a circle, and stops there.
const MAX_RENAMES: usize = 16;

/// An import: a path in a module that refers to another module, or to an item in another module. Both modules are in
/// the same crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    /// The file, from the root of the repository.
    pub(super) file: String,
    /// The line, counted from 1.
    pub(super) line: usize,
    /// The module that contains the path, such as `commands::hub`. Empty for the root of the crate.
    pub(super) module: String,
    /// The imported item or module, such as `commands::hub::shared::quoted`. Empty for the root of the crate.
    pub(super) target: String,
    /// The module that owns the target, such as `commands::hub::shared`. If the target is itself a module, this is the
    /// same as `target`.
    pub(super) target_module: String,
}

/// Returns all imports of a crate, in the order of files and lines. `files` are the files of the folder `src` of the
/// crate.
pub(super) fn imports(files: &[&File]) -> Vec<Import> {
    let mut source = Source::default();
    for file in files {
        let Some((module, path)) = module_of(&file.path).zip(Some(file.path.as_str())) else { continue };
        source.modules.insert(module.clone());
        Reader { source: &mut source, file: path, tokens: &tokens(&file.text), at: 0 }.read_module(&module);
    }
    source.imports()
}

/// Returns the module that a file contains. For `crates/a/src/b/mod.rs` and `crates/a/src/b.rs`, this is `b`.
///
/// Returns `None` for a file outside of a folder `src`, and for a file in `src/bin`.
pub(super) fn module_of(path: &str) -> Option<String> {
    let (_, below) = path.split_once("/src/")?;
    let below = below.strip_suffix(".rs")?;
    if below.starts_with("bin/") {
        return None;
    }
    let below = below.strip_suffix("/mod").unwrap_or(below);
    Some(if matches!(below, "lib" | "main") { String::new() } else { below.replace('/', "::") })
}

/// The path of the module `child` inside of the module `parent`.
pub(super) fn join(parent: &str, child: &str) -> String {
    if parent.is_empty() { child.to_owned() } else { format!("{parent}::{child}") }
}

/// The content of the files. The paths in it are not resolved yet.
#[derive(Debug, Default)]
struct Source {
    modules: BTreeSet<String>,
    /// Modules that are compiled for tests only. Their files are ignored.
    test_modules: BTreeSet<String>,
    paths: Vec<Path>,
    /// The names that `use` declarations define. The key is the module and the name; the value is the path.
    renames: BTreeMap<(String, String), Vec<String>>,
}

/// A path as it is in the source.
#[derive(Debug)]
struct Path {
    file: String,
    line: usize,
    module: String,
    segments: Vec<String>,
}

/// A path from the root of the crate, in two parts. `module` is the longest start of the path that is a module.
/// `rest` contains the other segments.
#[derive(Debug, PartialEq)]
struct Resolved {
    module: String,
    rest: Vec<String>,
}

impl Source {
    fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for path in self.paths.iter().filter(|it| !self.is_test(&it.module)) {
            if let Some(Resolved { module, rest }) = self.resolve(&path.module, &path.segments, MAX_RENAMES)
                && !self.is_test(&module)
            {
                imports.push(Import {
                    file: path.file.clone(),
                    line: path.line,
                    module: path.module.clone(),
                    target: rest.iter().fold(module.clone(), |path, segment| join(&path, segment)),
                    target_module: module,
                });
            }
        }
        imports.sort();
        imports.dedup();
        imports
    }

    fn is_test(&self, module: &str) -> bool {
        self.test_modules
            .iter()
            .any(|it| module.strip_prefix(it).is_some_and(|it| it.is_empty() || it.starts_with(':')))
    }

    /// Resolves a path that occurs in `module`. Returns `None` if the path refers to another crate.
    fn resolve(&self, module: &str, segments: &[String], renames: usize) -> Option<Resolved> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(self.descend(String::new(), rest, renames)),
            "self" => Some(self.descend(module.to_owned(), rest, renames)),
            "super" => Some(self.descend(parent(module), rest, renames)),
            name => {
                let child = join(module, name);
                if self.modules.contains(&child) {
                    return Some(self.descend(child, rest, renames));
                }
                let renamed = self.renamed(module, name, renames)?;
                Some(self.append(renamed, rest, renames))
            }
        }
    }

    /// Follows `segments` from `module` on.
    fn descend(&self, mut module: String, mut segments: &[String], renames: usize) -> Resolved {
        while let Some((first, rest)) = segments.split_first() {
            let child = join(&module, first);
            if first == "super" {
                module = parent(&module);
            } else if self.modules.contains(&child) {
                module = child;
            } else if let Some(renamed) = self.renamed(&module, first, renames) {
                return self.append(renamed, rest, renames);
            } else {
                return Resolved { module, rest: segments.to_vec() };
            }
            segments = rest;
        }
        Resolved { module, rest: Vec::new() }
    }

    /// Resolves a name that a `use` declaration of `module` introduces.
    fn renamed(&self, module: &str, name: &str, renames: usize) -> Option<Resolved> {
        let path = self.renames.get(&(module.to_owned(), name.to_owned()))?;
        // `renames` limits the number of steps, because `use` declarations can form a circle: for example, two
        // declarations that refer to each other, or `use self::a::a` in the module `a`. Without the limit, the loop
        // would never end.
        self.resolve(module, path, renames.checked_sub(1)?)
    }

    fn append(&self, to: Resolved, segments: &[String], renames: usize) -> Resolved {
        if to.rest.is_empty() {
            return self.descend(to.module, segments, renames);
        }
        Resolved { rest: [&to.rest, segments].concat(), ..to }
    }
}

fn parent(module: &str) -> String {
    module.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned())
}

/// Reads the tokens of one file.
struct Reader<'a> {
    source: &'a mut Source,
    file: &'a str,
    tokens: &'a [Token<'a>],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> Option<Kind<'a>> {
        self.tokens.get(self.at + ahead).map(|it| it.kind)
    }

    fn is_mark(&self, ahead: usize, mark: char) -> bool {
        self.peek(ahead) == Some(Kind::Mark(mark))
    }

    fn word(&self, ahead: usize) -> Option<&'a str> {
        match self.peek(ahead) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Reads until the brace that closes the module, or until the end of the file.
    fn read_module(&mut self, module: &str) {
        let mut open_braces = 0_usize;
        while let Some(kind) = self.peek(0) {
            match kind {
                Kind::Mark('{') => open_braces += 1,
                Kind::Mark('}') if open_braces == 0 => return,
                Kind::Mark('}') => open_braces -= 1,
                Kind::Mark('#') => {
                    self.read_attribute(module);
                    continue;
                }
                // `use<'a>` in a type is not a declaration.
                Kind::Word("use") if !self.is_mark(1, '<') => {
                    self.at += 1;
                    self.read_use(module, &[]);
                    continue;
                }
                Kind::Word("pub") if self.is_mark(1, '(') => {
                    self.at += 1;
                    self.skip_group();
                    continue;
                }
                Kind::Word("mod") if self.word(1).is_some() && self.is_mark(2, '{') => {
                    let inner = join(module, self.word(1).unwrap_or_default());
                    self.source.modules.insert(inner.clone());
                    self.at += 3;
                    self.read_module(&inner);
                }
                Kind::Word(_) => {
                    self.read_path(module);
                    continue;
                }
                Kind::PathSeparator => {
                    // The path starts with another crate, such as `::std::mem`, or continues a type, such as
                    // `<T>::name`. Skip the path, because its segments do not refer to this crate.
                    self.at += 1;
                    self.read_segments();
                    continue;
                }
                Kind::Mark(_) | Kind::Literal => {}
            }
            self.at += 1;
        }
    }

    /// Reads a path such as `a::b::c` that starts at the current word. Stores the path if it has at least two
    /// segments.
    fn read_path(&mut self, module: &str) {
        let line = self.tokens[self.at].line;
        let segments = self.read_segments();
        if segments.len() > 1 {
            self.keep(line, module, segments);
        }
    }

    fn read_segments(&mut self) -> Vec<String> {
        let mut segments = Vec::new();
        while let Some(word) = self.word(0) {
            segments.push(word.to_owned());
            self.at += 1;
            if self.peek(0) != Some(Kind::PathSeparator) || self.word(1).is_none() {
                break;
            }
            self.at += 1;
        }
        segments
    }

    fn keep(&mut self, line: usize, module: &str, segments: Vec<String>) {
        self.source.paths.push(Path { file: self.file.to_owned(), line, module: module.to_owned(), segments });
    }

    /// Reads a `use` declaration, or one item between the braces of a `use` declaration. The path of such an item
    /// starts with `prefix`.
    fn read_use(&mut self, module: &str, prefix: &[String]) {
        let Some(line) = self.tokens.get(self.at).map(|it| it.line) else { return };
        let mut path = prefix.to_vec();
        // `use ::time::Date` refers to another crate, even if this crate has a module `time`.
        let is_ours = self.peek(0) != Some(Kind::PathSeparator);
        if !is_ours {
            self.at += 1;
            path.push("::".to_owned());
        }
        while let Some(kind) = self.peek(0) {
            self.at += 1;
            match kind {
                Kind::Mark('{') => {
                    while self.peek(0).is_some() && !self.is_mark(0, '}') {
                        let before = self.at;
                        self.read_use(module, &path);
                        // Skip the comma. In a macro, another token may follow in place of the comma. Skip this token
                        // too.
                        self.at += usize::from(self.is_mark(0, ',') || self.at == before);
                    }
                    self.at += 1;
                    return;
                }
                Kind::Mark('*') => return self.keep(line, module, path),
                Kind::Word("as") => {
                    let name = self.word(0).unwrap_or_default().to_owned();
                    self.at += 1;
                    return self.keep_use(line, module, path, &name);
                }
                // `use a::{self}` is `use a`.
                Kind::Word("self") if !path.is_empty() => {}
                Kind::Word(word) => path.push(word.to_owned()),
                Kind::PathSeparator => {}
                Kind::Mark(_) | Kind::Literal => {
                    self.at -= 1;
                    break;
                }
            }
        }
        let name = path.last().cloned().unwrap_or_default();
        self.keep_use(line, module, path, &name);
    }

    fn keep_use(&mut self, line: usize, module: &str, path: Vec<String>, name: &str) {
        if name != "_" {
            self.source.renames.insert((module.to_owned(), name.to_owned()), path.clone());
        }
        self.keep(line, module, path);
    }

    /// Reads an attribute. If the attribute is for tests only, skips the attribute and its item.
    ///
    /// At any other attribute, stops after the `#`. The caller then finds the paths in the attribute, such as
    /// `#[arg(value_parser = crate::duration::parse)]`.
    fn read_attribute(&mut self, module: &str) {
        let start = self.at;
        let is_inner = self.is_mark(1, '!');
        self.at += 1 + usize::from(is_inner);
        let begin = self.at;
        if !self.is_mark(0, '[') {
            return;
        }
        self.skip_group();
        if !is_test_only(&self.tokens[begin..self.at]) {
            self.at = start + 1;
            return;
        }
        if is_inner {
            self.source.test_modules.insert(module.to_owned());
            while self.peek(0).is_some() && !self.is_mark(0, '}') {
                self.skip_group();
            }
            return;
        }
        while self.is_mark(0, '#') {
            self.at += 1;
            self.skip_group();
        }
        if self.word(0) == Some("pub") {
            self.at += 1;
            if self.is_mark(0, '(') {
                self.skip_group();
            }
        }
        if self.word(0) == Some("mod")
            && let Some(name) = self.word(1)
        {
            self.source.test_modules.insert(join(module, name));
        }
        self.skip_item();
    }

    /// Skips an item, a field, a match arm or a statement.
    fn skip_item(&mut self) {
        let ends_with_semicolon = match self.word(0) {
            Some("const") => self.word(1) != Some("fn"),
            word => matches!(word, Some("use" | "static" | "type" | "let")),
        };
        let is_item = ends_with_semicolon
            || matches!(
                self.word(0),
                Some(
                    "fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "const" | "async" | "extern" | "macro_rules"
                )
            );
        while let Some(kind) = self.peek(0) {
            match kind {
                Kind::Mark('{') => {
                    self.skip_group();
                    if !ends_with_semicolon {
                        return;
                    }
                }
                Kind::Mark('(' | '[') => self.skip_group(),
                Kind::Mark(';') => {
                    self.at += 1;
                    return;
                }
                // The end of the enclosing brackets, or of a field.
                Kind::Mark('}' | ')' | ']') => return,
                Kind::Mark(',') if !is_item => return,
                _ => self.at += 1,
            }
        }
    }

    /// Skips an opening bracket, its closing bracket, and everything between them. If the current token is not an
    /// opening bracket, skips only the current token.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(kind) = self.peek(0) {
            self.at += 1;
            match kind {
                Kind::Mark('(' | '[' | '{') => depth += 1,
                Kind::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// Whether an attribute is `[cfg(test)]` or `[cfg(all(test, …))]`.
fn is_test_only(attribute: &[Token<'_>]) -> bool {
    let mut words = attribute.iter().filter_map(|it| match it.kind {
        Kind::Word(word) => Some(word),
        _ => None,
    });
    words.next() == Some("cfg")
        && match words.next() {
            Some("test") => true,
            Some("all") => words.any(|it| it == "test") && !attribute.iter().any(|it| it.kind.is_word("not")),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the imports of these files in the form `module -> target` or `module -> module::(item)`.
    fn shown(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| File { path: format!("crates/a/src/{path}"), text: (*text).to_owned() })
            .collect();
        let shown = imports(&files.iter().collect::<Vec<_>>()).into_iter().map(|it| {
            let module = it.target_module.as_str();
            let item = it.target.strip_prefix(module).unwrap_or_default().trim_start_matches("::");
            let target = if item.is_empty() { module.to_owned() } else { join(module, &format!("({item})")) };
            format!("{} -> {target}", it.module)
        });
        shown.collect()
    }

    #[test]
    fn a_file_has_a_module() {
        for (path, module) in [
            ("crates/a/src/lib.rs", Some("")),
            ("crates/a/src/main.rs", Some("")),
            ("crates/a/src/b.rs", Some("b")),
            ("crates/a/src/b/mod.rs", Some("b")),
            ("crates/a/src/b/c/d.rs", Some("b::c::d")),
            ("crates/a/src/bin/b.rs", None),
            ("crates/a/src/b.txt", None),
            ("crates/a/tests/b.rs", None),
        ] {
            assert_eq!(module_of(path).as_deref(), module, "{path}");
        }
    }

    #[test]
    fn reads_each_form_of_a_path() {
        let others = [("lib.rs", ""), ("b.rs", ""), ("c/mod.rs", ""), ("c/d.rs", ""), ("c/e/mod.rs", "")];
        for (text, expected) in [
            ("use crate::b::X;", ["c::e::f -> b::(X)"].as_slice()),
            ("use crate::b;", &["c::e::f -> b"]),
            ("use crate::b::X as _;", &["c::e::f -> b::(X)"]),
            ("use crate::b::*;", &["c::e::f -> b"]),
            ("use super::super::d::X;", &["c::e::f -> c::d::(X)"]),
            ("use super::X;", &["c::e::f -> c::e::(X)"]),
            (
                "use super::super::{super::b::X, d::{self, Y, Z as W}};",
                &["c::e::f -> b::(X)", "c::e::f -> c::d", "c::e::f -> c::d::(Y)", "c::e::f -> c::d::(Z)"],
            ),
            ("use {crate::b::X, std::fmt};", &["c::e::f -> b::(X)"]),
            (
                "pub(in crate::c) fn f() -> crate::b::X { super::super::d::f::<Y>(1) }",
                &["c::e::f -> b::(X)", "c::e::f -> c::d::(f)"],
            ),
            ("#[arg(value_parser = crate::b::parse)] struct A;", &["c::e::f -> b::(parse)"]),
            ("fn f() { let a = $crate::b::M; use $a::{$b, +}; }", &["c::e::f -> b::(M)"]),
            ("mod inner { use super::super::super::d::X; }", &["c::e::f::inner -> c::d::(X)"]),
            // Paths into other crates. These crates have the same names as modules here.
            ("use ::b::X; fn f() -> ::c::d::X {}", &[]),
            ("fn f() -> impl Fn() + use<'_> {} // crate::b::X", &[]),
            ("const TEXT: &str = \"crate::b::X\"; /* crate::b::X */", &[]),
            ("use std::fmt; fn f() { fmt::Display::fmt(&x); Self::a(); b::c() }", &[]),
        ] {
            let files: Vec<_> = others.into_iter().chain([("c/e/f.rs", text)]).collect();
            assert_eq!(shown(&files), expected, "{text}");
        }
    }

    #[test]
    fn reads_paths_that_begin_with_a_child_or_a_renamed_module() {
        let others = [("lib.rs", "mod a; mod b;"), ("a/c.rs", ""), ("b/mod.rs", ""), ("b/d.rs", "")];
        for (text, expected) in [
            ("mod c; fn f() { c::g() }", ["a -> a::c::(g)"].as_slice()),
            ("use c::g;", &["a -> a::c::(g)"]),
            ("use self::c::g;", &["a -> a::c::(g)"]),
            ("use crate::b as x; fn f() { x::d::g() }", &["a -> b", "a -> b::d::(g)"]),
            ("use super::{self as up}; fn f() { up::b::d::g() }", &["a -> ", "a -> b::d::(g)"]),
            ("use crate as root; use root::b::d as x; use x::Y;", &["a -> ", "a -> b::d", "a -> b::d::(Y)"]),
            ("use x as y; use y as x; fn f() { x::y::z() }", &[]),
        ] {
            let files: Vec<_> = others.into_iter().chain([("a/mod.rs", text)]).collect();
            assert_eq!(shown(&files), expected, "{text}");
        }
    }

    #[test]
    fn an_import_ends_at_the_module_that_owns_the_item() {
        let files = [
            ("lib.rs", "pub use a::Y as Z;"),
            ("a/mod.rs", "mod b; mod c; pub(crate) use b::{X, inner}; use crate::d::Y;"),
            ("a/b.rs", "pub(crate) struct X; pub(crate) mod inner {}"),
            ("a/c.rs", "use super::X; fn f() -> super::Y { super::inner::g() } use crate::Z::V;"),
            ("d.rs", ""),
        ];
        assert_eq!(
            shown(&files),
            [
                "a::c -> a::b::(X)",
                "a::c -> a::b::inner::(g)",
                "a::c -> d::(Y)",
                "a::c -> d::(Y::V)",
                "a -> a::b::(X)",
                "a -> a::b::inner",
                "a -> d::(Y)",
                " -> d::(Y)"
            ]
        );
    }

    #[test]
    fn leaves_out_test_code() {
        let others = [("lib.rs", ""), ("a/tests.rs", "use crate::b::X;"), ("a/tests/far.rs", "use crate::b::X;")];
        let last = ("b.rs", "use crate::b::Last;");
        for text in [
            "#[cfg(test)] mod tests;",
            "#[cfg(test)] #[path = \"x.rs\"] pub(crate) mod tests;",
            "#[cfg(all(test, unix))] mod tests;",
            "#[cfg(test)] mod tests; #[cfg(test)] use crate::b::{X, Y};",
            "#[cfg(test)] mod tests; #[cfg(test)] fn f(a: [u8; 2], b: crate::b::X) -> Y { crate::b::f() }",
            "#[cfg(test)] mod tests; #[cfg(test)] const X: crate::b::X = crate::b::X { a: 1 };",
            "#[cfg(test)] mod tests; struct S { #[cfg(test)] a: crate::b::X, }",
            "#[cfg(test)] mod tests; #[cfg(test)] impl crate::b::X { fn a() -> crate::b::Y {} }",
            "#![cfg(test)] use crate::b::X; fn f() {} use crate::b::Y;",
            "#[cfg(test)] mod tests; mod inner { #![cfg(test)] fn f() {} use crate::b::X; }",
            "#[cfg(test)] mod tests; #[cfg(test)] mod inner { use crate::b::X; }",
        ] {
            let files: Vec<_> = others.into_iter().chain([("a/mod.rs", text), last]).collect();
            assert_eq!(shown(&files), ["b -> b::(Last)"], "{text}");
        }
        for text in [
            "#[cfg(not(test))] use crate::b::X;",
            "#[cfg(all(unix, not(test)))] use crate::b::X;",
            "#[cfg(any(test, unix))] use crate::b::X;",
            "#[cfg(test)] fn f() {} use crate::b::X;",
            "#[cfg(test)] use crate::b::Y; use crate::b::X;",
            "struct S { #[cfg(test)] a: u8, b: crate::b::X }",
            "#[test] fn f() { crate::b::X; }",
        ] {
            assert_eq!(shown(&[("lib.rs", ""), ("a.rs", text), ("b.rs", "")]), ["a -> b::(X)"], "{text}");
        }
    }

    #[test]
    fn an_import_has_the_file_and_the_line() {
        let file =
            File { path: "crates/a/src/c.rs".to_owned(), text: "//! c\n\nuse crate::{\n    b::X,\n};".to_owned() };
        assert_eq!(
            imports(&[&file]),
            [Import {
                file: file.path.clone(),
                line: 4,
                module: "c".to_owned(),
                target: "b::X".to_owned(),
                target_module: String::new(),
            }]
        );
    }
}
