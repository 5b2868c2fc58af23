//! Formats text from a peer for errors and logs.

use std::fmt;

/// The beginning of a text that a peer sent, such as a topic, an id or the name of a method.
///
/// `Display` prints at most [`Excerpt::CHARS_MAX`] characters of the text, on one line. It escapes each character that
/// a terminal could interpret, and each one that changes the writing direction. The escapes have the form of a Rust
/// literal.
///
/// If the text has more than [`Excerpt::CHARS_MAX`] characters, `Display` also prints the length of the whole text in
/// bytes.
///
/// ```
/// use hubward_proto::Excerpt;
///
/// assert_eq!(Excerpt("reboot\r\n\u{1b}[2J").to_string(), r"reboot\r\n\u{1b}[2J");
/// assert_eq!(Excerpt(&"x".repeat(5000)).to_string(), format!("{}… (5000 bytes)", "x".repeat(128)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt<'a>(pub &'a str);

impl Excerpt<'_> {
    /// Maximum number of characters that `Display` prints.
    pub const CHARS_MAX: usize = 128;
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(Self::CHARS_MAX) {
            match character {
                '"' | '\'' => f.write_char(character)?,
                // `escape_debug` also escapes characters that are not printable, such as bidirectional controls.
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        if characters.as_str().is_empty() { Ok(()) } else { write!(f, "… ({} bytes)", self.0.len()) }
    }
}

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Returns whether a program must escape or remove `character` before it shows a text to people.
///
/// This applies to control characters (C0, DEL, C1), line and paragraph separators, and controls of the writing
/// direction.
///
/// A control of the writing direction can make a text look like another text.
///
/// Source: Unicode Standard, section 23.1; Unicode Standard Annex 9, section 2.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_printable_characters_and_escapes_the_others() {
        for (text, expected) in [
            ("", ""),
            ("reboot now: 'é', \"日本\"", "reboot now: 'é', \"日本\""),
            ("a\\nb", r"a\\nb"),
            ("a\nb\tc\0", r"a\nb\tc\0"),
            ("\u{1b}[31m", r"\u{1b}[31m"),
            ("\u{7f}\u{85}\u{9b}", r"\u{7f}\u{85}\u{9b}"),
            ("\u{202e}txt\u{2066}", r"\u{202e}txt\u{2066}"),
            ("\u{2028}", r"\u{2028}"),
        ] {
            let shown = Excerpt(text).to_string();
            assert_eq!(shown, expected);
            assert!(!shown.chars().any(is_hidden), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_shortened_between_characters_and_followed_by_its_length() {
        let whole = "é".repeat(Excerpt::CHARS_MAX);
        assert_eq!(Excerpt(&whole).to_string(), whole);
        let long = "é".repeat(Excerpt::CHARS_MAX + 1);
        assert_eq!(Excerpt(&long).to_string(), format!("{whole}… (258 bytes)"));
        // `Display` writes an escape of ten characters for each of these characters. The result is still short, because
        // `Display` stops after `CHARS_MAX` characters of the text.
        assert!(Excerpt(&"\u{10ffff}".repeat(50_000)).to_string().len() < 2_000);
    }

    #[test]
    fn control_and_direction_characters_are_hidden() {
        for character in ['\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2069}'] {
            assert!(is_hidden(character), "{character:?}");
        }
        for character in ['a', ' ', 'é', '日', '\u{200d}', '\u{2070}', '\u{2027}'] {
            assert!(!is_hidden(character), "{character:?}");
        }
    }
}
