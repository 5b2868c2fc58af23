//! The position of the parser in a query.

use super::Invalid;
use super::lexer::{Kind, Token};

/// Maximum nesting depth of parentheses, functions and prefix operators such as `NOT`. Without this limit, the parser
/// could exhaust the stack.
///
/// Source: `[guess]`.
const DEEPEST: usize = 32;

/// A position in the tokens of a query.
#[derive(Debug)]
pub(super) struct Cursor {
    tokens: Vec<Token>,
    next: usize,
    /// Nesting depth of parentheses, functions and prefixes.
    depth: usize,
    /// The alias in `FROM`, once it is parsed.
    pub(super) alias: Option<String>,
}

impl Cursor {
    /// `tokens` ends with [`Kind::End`].
    pub(super) const fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, next: 0, depth: 0, alias: None }
    }

    pub(super) fn peek(&self) -> &Kind {
        self.ahead(0)
    }

    pub(super) fn ahead(&self, by: usize) -> &Kind {
        self.tokens.get(self.next + by).map_or(&Kind::End, |it| &it.kind)
    }

    /// Returns the current token and moves to the next token. At the end, stays at the last token.
    pub(super) fn take(&mut self) -> Kind {
        let kind = self.peek().clone();
        if kind != Kind::End {
            self.next += 1;
        }
        kind
    }

    /// Returns to an earlier position, which [`Cursor::place`] returned.
    pub(super) const fn go(&mut self, place: usize) -> usize {
        std::mem::replace(&mut self.next, place)
    }

    pub(super) const fn place(&self) -> usize {
        self.next
    }

    pub(super) fn is_keyword(&self, keyword: &str) -> bool {
        matches!(self.peek(), Kind::Word(it) if it.eq_ignore_ascii_case(keyword))
    }

    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.is_keyword(keyword);
        self.next += usize::from(found);
        found
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Kind::Symbol(it) if *it == symbol);
        self.next += usize::from(found);
        found
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), Invalid> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// Returns an error for the current token. The message says that the parser expected `what`.
    pub(super) fn expected(&self, what: &str) -> Invalid {
        self.wrong(&format!("expected {what}, found {}", self.peek().shown()))
    }

    /// An error with this message at the current token.
    pub(super) fn wrong(&self, message: &str) -> Invalid {
        Invalid::new(self.tokens.get(self.next).map_or(1, |it| it.at), message)
    }

    /// Parses something one nesting level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Invalid>) -> Result<T, Invalid> {
        if self.depth == DEEPEST {
            return Err(self.wrong("a query may be nested at most 32 levels deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }
}
