//! Checks the position of the constants in a module: after the imports, and before functions and types.
//!
//! A reader then finds all constants of a module in one place.
//!
//! The check ignores the constants of an `impl` block or a function. It also ignores `const _`, which only asserts
//! something.

use super::File;
use super::tokens::{Kind, Token, tokens};

/// Checks a file, if it is Rust.
pub(super) fn check(file: &File) -> Vec<String> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let tokens = tokens(&file.text);
    let mut late = Vec::new();
    Reader { tokens: &tokens, at: 0, late: &mut late }.read_module();
    let finding = |(line, name): (usize, &str)| {
        format!("{}:{line}: move the constant `{name}` above the functions and types of its module", file.path)
    };
    late.into_iter().map(finding).collect()
}

struct Reader<'a, 'b> {
    tokens: &'a [Token<'a>],
    at: usize,
    /// Line and name of each constant that comes too late.
    late: &'b mut Vec<(usize, &'a str)>,
}

impl<'a> Reader<'a, '_> {
    fn kind(&self, ahead: usize) -> Option<Kind<'a>> {
        self.tokens.get(self.at + ahead).map(|it| it.kind)
    }

    fn word(&self, ahead: usize) -> Option<&'a str> {
        match self.kind(ahead) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Reads until the brace that closes the module, or until the end of the file.
    fn read_module(&mut self) {
        let mut is_late = false;
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Mark('}') => return,
                Kind::Mark('(' | '[' | '{') => self.skip_group(),
                Kind::Word("const" | "static")
                    if !matches!(self.word(1), Some("fn" | "unsafe" | "async" | "extern")) =>
                {
                    let name = if self.word(1) == Some("mut") { self.word(2) } else { self.word(1) };
                    if let Some(name) = name.filter(|it| is_late && *it != "_") {
                        self.late.push((self.tokens[self.at].line, name));
                    }
                    self.skip_past_semicolon();
                }
                Kind::Word("use") => self.skip_past_semicolon(),
                Kind::Word("fn" | "struct" | "enum" | "trait" | "impl") => {
                    is_late = true;
                    self.skip_item();
                }
                Kind::Word("mod") if self.kind(2) == Some(Kind::Mark('{')) => {
                    self.at += 3;
                    self.read_module();
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    /// Skips a function or a type, including its body.
    fn skip_item(&mut self) {
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Mark('{') => return self.skip_group(),
                Kind::Mark('(' | '[') => self.skip_group(),
                Kind::Mark(';') => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    fn skip_past_semicolon(&mut self) {
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Mark('(' | '[' | '{') => self.skip_group(),
                Kind::Mark(';') => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    /// Skips two brackets and everything between them.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(kind) = self.kind(0) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn late(text: &str) -> Vec<String> {
        check(&File { path: "crates/hubward/src/a.rs".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn finds_constants_below_functions_and_types() {
        for (text, expected) in [
            ("fn f() {}\nconst A: u8 = 1;", ["2: move the constant `A` "].as_slice()),
            ("struct S;\nstatic A: [u8; 2] = [1, 2];", &["2: move the constant `A` "]),
            (
                "pub(crate) enum E { A }\n#[cfg(unix)]\n/// Text.\npub(super) static mut A: u8 = { 1 };",
                &["4: move the constant `A` "],
            ),
            ("impl<const N: usize> S {}\nconst A: u8 = 1;\nconst B: u8 = 1;", &["2: move", "3: move"]),
            (
                "const A: u8 = 1;\nmod tests {\nfn f() {}\nconst B: u8 = 1;\n}\nconst C: u8 = 1;",
                &["4: move the constant `B` "],
            ),
            ("fn f<T>() where T: Fn([u8; 2]) -> u8 { 1 }\nconst A: u8 = 1;", &["2: move"]),
        ] {
            let findings = late(text);
            assert_eq!(findings.len(), expected.len(), "{text}: {findings:?}");
            for (finding, expected) in findings.iter().zip(expected) {
                assert!(finding.starts_with(&format!("crates/hubward/src/a.rs:{expected}")), "{text}: {findings:?}");
            }
        }
    }

    #[test]
    fn constants_elsewhere_stay() {
        for text in [
            "use a::b;\ntype T = u8;\nmacro_rules! m { () => { fn f() {} } }\nconst A: u8 = 1;\nfn f() {}",
            "fn f() { const A: u8 = 1; }",
            "struct S;\nimpl S { const A: u8 = 1; }",
            "struct S;\nconst _: () = assert!(true);\nconst fn f() {}\nconst unsafe fn g() {}",
            "struct S(&'static str);",
            "mod a { fn f() {} }\nconst A: u8 = 1;",
            "#[derive(fn)]\nconst A: u8 = 1;",
        ] {
            assert_eq!(late(text), Vec::<String>::new(), "{text}");
        }
    }
}
