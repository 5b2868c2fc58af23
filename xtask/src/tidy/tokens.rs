//! Splits Rust source into tokens. Leaves out comments and the text of literals.

/// A token and the line where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The line, counted from 1.
    pub(super) line: usize,
    pub(super) kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// An identifier or a keyword, without `r#`.
    Word(&'a str),
    /// `::`
    PathSeparator,
    /// One character of punctuation.
    Mark(char),
    /// A string, a character or a number.
    Literal,
}

impl Kind<'_> {
    pub(super) fn is_word(self, word: &str) -> bool {
        self == Kind::Word(word)
    }
}

/// Returns the tokens of a file. Never fails, even if the compiler refuses the file.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = lexer.peek() {
        let line = lexer.line;
        if let Some(kind) = lexer.next(first) {
            tokens.push(Token { line, kind });
        }
    }
    tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Moves forward by `length` bytes, and counts the lines.
    fn skip(&mut self, length: usize) {
        let skipped = &self.rest()[..length.min(self.rest().len())];
        self.line += skipped.matches('\n').count();
        self.at += skipped.len();
    }

    /// Moves to the position after the next `end`. If there is none, moves to the end of the file.
    fn skip_past(&mut self, end: &str) {
        let rest = self.rest();
        self.skip(rest.find(end).map_or(rest.len(), |it| it + end.len()));
    }

    /// Moves forward while `goes_on` returns `true`, and returns the skipped text.
    fn skip_while(&mut self, goes_on: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|it| !goes_on(it)).unwrap_or(rest.len());
        self.skip(length);
        &rest[..length]
    }

    /// Returns the next token. Returns `None` for a space or a comment.
    fn next(&mut self, first: char) -> Option<Kind<'a>> {
        let rest = self.rest();
        if first.is_whitespace() {
            self.skip_while(char::is_whitespace);
            return None;
        }
        if rest.starts_with("//") {
            self.skip_while(|it| it != '\n');
            return None;
        }
        if rest.starts_with("/*") {
            self.skip_block_comment();
            return None;
        }
        if let Some(quote) = opening_quote(rest) {
            self.skip_string(quote);
            return Some(Kind::Literal);
        }
        if is_word_start(first) {
            if rest.starts_with("r#") {
                self.skip(2);
            }
            return Some(Kind::Word(self.skip_while(is_word)));
        }
        if first.is_ascii_digit() {
            self.skip_number();
            return Some(Kind::Literal);
        }
        if first == '\'' {
            return Some(self.skip_quote());
        }
        if rest.starts_with("::") {
            self.skip(2);
            return Some(Kind::PathSeparator);
        }
        self.skip(first.len_utf8());
        Some(Kind::Mark(first))
    }

    /// Block comments can contain block comments.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else if let Some(next) = rest.chars().next() {
                self.skip(next.len_utf8());
            }
            if depth == 0 || self.rest().is_empty() {
                return;
            }
        }
    }

    fn skip_string(&mut self, quote: Quote) {
        self.skip(quote.prefix);
        if let Some(hashes) = quote.raw_hashes {
            self.skip(hashes + 1);
            self.skip_past(&format!("\"{}", "#".repeat(hashes)));
            return;
        }
        self.skip(1);
        self.skip_escaped('"');
    }

    /// Moves to the position after the next `end`, or to the end of the file. Ignores an `end` after a backslash.
    fn skip_escaped(&mut self, end: char) {
        while let Some(next) = self.peek() {
            self.skip(next.len_utf8());
            if next == '\\' {
                self.skip(self.peek().map_or(0, char::len_utf8));
            } else if next == end {
                return;
            }
        }
    }

    /// A dot belongs to the number only if a digit follows the dot. For example, `0..2` contains two numbers.
    fn skip_number(&mut self) {
        self.skip_while(is_word);
        let mut after = self.rest().chars();
        if after.next() == Some('.') && after.next().is_some_and(|it| it.is_ascii_digit()) {
            self.skip(1);
            self.skip_while(is_word);
        }
    }

    /// A character literal, or the mark of a lifetime or label.
    fn skip_quote(&mut self) -> Kind<'a> {
        let mut after = self.rest().chars().skip(1);
        let (first, second) = (after.next(), after.next());
        self.skip(1);
        if first != Some('\\') && second != Some('\'') {
            self.skip_while(is_word);
            return Kind::Mark('\'');
        }
        self.skip_escaped('\'');
        Kind::Literal
    }
}

/// The start of a string literal.
struct Quote {
    /// The length of `b`, `c`, `r`, `br` or `cr`.
    prefix: usize,
    /// The number of `#` of a raw string.
    raw_hashes: Option<usize>,
}

fn opening_quote(rest: &str) -> Option<Quote> {
    let prefix = rest.bytes().take_while(|it| matches!(it, b'b' | b'c' | b'r')).count();
    let (letters, after) = rest.split_at(prefix);
    match letters {
        "" | "b" | "c" => after.starts_with('"').then_some(Quote { prefix, raw_hashes: None }),
        "r" | "br" | "cr" => {
            let hashes = after.bytes().take_while(|it| *it == b'#').count();
            after[hashes..].starts_with('"').then_some(Quote { prefix, raw_hashes: Some(hashes) })
        }
        _ => None,
    }
}

fn is_word_start(it: char) -> bool {
    it == '_' || it.is_alphabetic()
}

fn is_word(it: char) -> bool {
    it == '_' || it.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words and marks, separated by spaces. A literal is `#`.
    fn shown(text: &str) -> String {
        let shown = tokens(text).into_iter().map(|it| match it.kind {
            Kind::Word(word) => word.to_owned(),
            Kind::PathSeparator => "::".to_owned(),
            Kind::Mark(mark) => mark.to_string(),
            Kind::Literal => "#".to_owned(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn leaves_out_comments_and_the_text_of_literals() {
        for (text, expected) in [
            ("a // b\nc", "a c"),
            ("a /* b /* c */ d */ e", "a e"),
            ("/// crate::a\nb", "b"),
            (r#"f("crate::a \" b", c)"#, "f ( # , c )"),
            ("r\"\\\" a", "# a"),
            ("r#\"a\" b\"# c", "# c"),
            ("b\"a\" c\"a\" br##\"a\"#\"## b", "# # # b"),
            ("'a' '\\'' b'\"' d '\"' e", "# # b # d # e"),
            ("&'a str, 'static: loop", "& ' str , ' : loop"),
            ("0..2 1.5e3 0xff_u8 a.0.b", "# . . # # # a . # . b"),
            ("r#type::b", "type :: b"),
            ("bar crab rb", "bar crab rb"),
            ("\"no end", "#"),
            ("/* no end", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn counts_lines_through_strings_and_comments() {
        let lines: Vec<_> = tokens("a\n\"x\ny\" b /*\n*/ c // d\ne").into_iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
    }
}
