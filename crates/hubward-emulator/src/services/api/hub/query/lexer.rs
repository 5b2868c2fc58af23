//! Splits a query into tokens.

use super::Invalid;

/// The symbols. The lexer uses the first one that matches, so `<=` must come before `<`.
const SYMBOLS: [&str; 18] =
    ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "/", "%", "+", "-"];

/// A token and its position.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// Number of its first character, counted from 1.
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A name or a keyword.
    Word(String),
    /// A name in double brackets, which is never a keyword.
    Escaped(String),
    Text(String),
    Number(serde_json::Number),
    Symbol(&'static str),
    End,
}

impl Kind {
    /// The token as an error message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(it) => format!("`{it}`"),
            Self::Escaped(it) => format!("`[[{it}]]`"),
            Self::Text(_) => "a string".to_owned(),
            Self::Number(it) => format!("`{it}`"),
            Self::Symbol(it) => format!("`{it}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Splits a query into tokens. The last token is [`Kind::End`].
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, "Expressions and conditions".
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Invalid> {
    let characters: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { characters: &characters, next: 0 };
    let mut tokens = Vec::new();
    loop {
        while lexer.peek(0).is_some_and(char::is_whitespace) {
            lexer.next += 1;
        }
        let at = lexer.next + 1;
        let after_dot = matches!(tokens.last(), Some(Token { kind: Kind::Symbol("."), .. }));
        let kind = lexer.token(after_dot)?;
        let is_end = kind == Kind::End;
        tokens.push(Token { at, kind });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    characters: &'a [char],
    next: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.next + ahead).copied()
    }

    fn error(&self, message: &str) -> Invalid {
        Invalid::new(self.next + 1, message)
    }

    /// After a dot, a name may begin with a digit.
    fn token(&mut self, after_dot: bool) -> Result<Kind, Invalid> {
        let Some(first) = self.peek(0) else { return Ok(Kind::End) };
        if first == '[' && self.peek(1) == Some('[') {
            return self.escaped();
        }
        if is_name(first) && (after_dot || !first.is_ascii_digit()) {
            return Ok(Kind::Word(self.while_(is_name)));
        }
        match first {
            '\'' | '"' => self.text(first),
            '0'..='9' => self.number(),
            _ => self.symbol(),
        }
    }

    fn while_(&mut self, fits: impl Fn(char) -> bool) -> String {
        let start = self.next;
        while self.peek(0).is_some_and(&fits) {
            self.next += 1;
        }
        self.characters[start..self.next].iter().collect()
    }

    /// Source: `[doc]` iot-hub/iot-hub-devguide-query-language.md, the note about the name `group`.
    fn escaped(&mut self) -> Result<Kind, Invalid> {
        self.next += 2;
        let name = self.while_(|it| it != ']');
        if name.is_empty() {
            return Err(self.error("expected a name between `[[` and `]]`"));
        }
        if self.peek(0) != Some(']') || self.peek(1) != Some(']') {
            return Err(self.error("expected `]]` after a name"));
        }
        self.next += 2;
        Ok(Kind::Escaped(name))
    }

    fn text(&mut self, quote: char) -> Result<Kind, Invalid> {
        let start = self.next;
        self.next += 1;
        let mut text = String::new();
        loop {
            let Some(next) = self.peek(0) else {
                return Err(Invalid::new(start + 1, "a string has no closing quote"));
            };
            self.next += 1;
            match next {
                it if it == quote => return Ok(Kind::Text(text)),
                '\\' => text.push(self.escape()?),
                it => text.push(it),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Invalid> {
        let Some(it) = self.peek(0) else { return Err(self.error("a string has no closing quote")) };
        match it {
            '\'' | '"' | '\\' => {
                self.next += 1;
                Ok(it)
            }
            'u' => {
                self.next += 1;
                let mut unit = self.hex4()?;
                if (0xD800..0xDC00).contains(&unit) && self.peek(0) == Some('\\') && self.peek(1) == Some('u') {
                    self.next += 2;
                    let low = self.hex4()?;
                    if (0xDC00..0xE000).contains(&low) {
                        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                    }
                }
                char::from_u32(unit).ok_or_else(|| self.error("this escape is only half of a surrogate pair"))
            }
            _ => Err(self.error("expected `\\'`, `\\\"`, `\\\\` or `\\uXXXX` in a string")),
        }
    }

    fn hex4(&mut self) -> Result<u32, Invalid> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek(0).and_then(|it| it.to_digit(16)) else {
                return Err(self.error("expected four hexadecimal digits after `\\u`"));
            };
            unit = unit * 16 + digit;
            self.next += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Kind, Invalid> {
        let start = self.next;
        let wrong = || Invalid::new(start + 1, "this is not a valid number");
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.next += 2;
            let digits = self.while_(is_name);
            let number = u64::from_str_radix(&digits, 16).map_err(|_| wrong())?;
            return Ok(Kind::Number(number.into()));
        }
        let mut digits = self.while_(|it| it.is_ascii_digit());
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|it| it.is_ascii_digit()) {
            self.next += 1;
            digits.push('.');
            digits.push_str(&self.while_(|it| it.is_ascii_digit()));
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            self.next += 1;
            digits.push('e');
            if let Some(sign @ ('+' | '-')) = self.peek(0) {
                self.next += 1;
                digits.push(sign);
            }
            digits.push_str(&self.while_(|it| it.is_ascii_digit()));
        }
        if self.peek(0).is_some_and(is_name) {
            return Err(wrong());
        }
        if let Ok(whole) = digits.parse::<u64>() {
            return Ok(Kind::Number(whole.into()));
        }
        let number = digits.parse::<f64>().ok().and_then(serde_json::Number::from_f64).ok_or_else(wrong)?;
        Ok(Kind::Number(number))
    }

    fn symbol(&mut self) -> Result<Kind, Invalid> {
        let rest = &self.characters[self.next..];
        let found = SYMBOLS.iter().find(|it| it.chars().enumerate().all(|(at, it)| rest.get(at) == Some(&it)));
        let Some(symbol) = found else { return Err(self.error("this character is not allowed in a query")) };
        self.next += symbol.len();
        Ok(Kind::Symbol(symbol))
    }
}

/// Returns whether a name can contain this character without being escaped.
///
/// A name with `-` or `:` must be escaped. `[sdk]`: queries in the SDKs escape such names, for example
/// `properties.reported.[[$iotin:deviceinfo]]`.
fn is_name(it: char) -> bool {
    it.is_alphanumeric() || it == '_' || it == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(text).expect(text).into_iter().map(|it| it.kind).collect()
    }

    #[test]
    fn splits_names_strings_and_numbers() {
        let word = |it: &str| Kind::Word(it.into());
        let text = |it: &str| Kind::Text(it.into());
        let number = |it: f64| Kind::Number(serde_json::Number::from_f64(it).expect("finite"));
        for (query, expected) in [
            ("a.$version", vec![word("a"), Kind::Symbol("."), word("$version")]),
            ("tags.1st", vec![word("tags"), Kind::Symbol("."), word("1st")]),
            ("[[a-b c]]", vec![Kind::Escaped("a-b c".into())]),
            ("['x',\"y\"]", vec![Kind::Symbol("["), text("x"), Kind::Symbol(","), text("y"), Kind::Symbol("]")]),
            (r"'a\'b\\c\u00e9\ud83d\ude00'", vec![text("a'b\\cé😀")]),
            (r#""it's""#, vec![text("it's")]),
            ("60", vec![Kind::Number(60.into())]),
            ("0x1F", vec![Kind::Number(31.into())]),
            ("1.5", vec![number(1.5)]),
            ("2e3", vec![number(2000.0)]),
            ("1<>2", vec![Kind::Number(1.into()), Kind::Symbol("<>"), Kind::Number(2.into())]),
            ("a-b", vec![word("a"), Kind::Symbol("-"), word("b")]),
            ("größe", vec![word("größe")]),
        ] {
            let mut expected = expected;
            expected.push(Kind::End);
            assert_eq!(kinds(query), expected, "{query}");
        }
    }

    #[test]
    fn errors_have_the_position() {
        for (query, at) in [
            ("a = 'x", 5),
            (r"a = '\n'", 7),
            (r"'\u12'", 6),
            (r"'\ud83d'", 8),
            ("[[a]", 4),
            ("[[]]", 3),
            ("a ; b", 3),
            ("12ab", 1),
            ("0x", 1),
            ("1e", 1),
            ("1e999", 1),
        ] {
            assert_eq!(tokens(query).map_err(|it| it.at), Err(at), "{query}");
        }
    }
}
