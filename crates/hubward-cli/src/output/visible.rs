//! Replaces characters with spaces if they could control a terminal. [`is_hidden`] lists these characters.

use std::borrow::Cow;

use hubward::text::is_hidden;

/// Texts that try to control a terminal. The tests pass them to all code that prints text from a peer.
#[cfg(test)]
pub(crate) const HOSTILE: &[&str] = &[
    "\u{1b}[2J\u{1b}]0;title\u{7}",
    "\u{9b}31mred\u{9d}0;title\u{9c}",
    "back\u{8}space\u{7f}delete",
    "line\nanother\r\nthird\u{85}fourth\u{2028}fifth\u{2029}sixth",
    "\u{202a}a\u{202b}b\u{202c}c\u{202d}d\u{202e}e",
    "\u{2066}a\u{2067}b\u{2068}c\u{2069}d",
    "\u{200e}a\u{200f}b\u{061c}c",
    "tab\tnul\0end",
];

/// Makes text from a peer safe to print within a line. Replaces these characters with spaces: characters that control a
/// terminal, that end the line, or that change the order of the text.
pub(crate) fn visible(text: &str) -> String {
    with_spaces(text, |it| !is_hidden(it)).into_owned()
}

/// Like [`visible`], but for text of several lines: keeps line ends and tabs.
pub(super) fn visible_lines(text: &str) -> Cow<'_, str> {
    with_spaces(text, |it| matches!(it, '\n' | '\t') || !is_hidden(it))
}

/// Escapes text from a peer for a cell that scripts read. The text can be restored exactly.
///
/// Uses `\\`, `\t`, `\n` and `\r`. Every other hidden character becomes `\u` and four hexadecimal digits. Four digits
/// are enough for every hidden character.
#[cfg(any(feature = "emulator", feature = "service"))]
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '\\' => escaped.push_str("\\\\"),
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            it if is_hidden(it) => escaped.push_str(&format!("\\u{:04x}", u32::from(it))),
            it => escaped.push(it),
        }
    }
    escaped
}

/// Makes a line of the log safe to print. Keeps the escape characters, because the log uses them for colours. In text
/// from peers, the log has already escaped these characters.
pub(crate) fn visible_log(line: &str) -> Cow<'_, str> {
    with_spaces(line, |it| matches!(it, '\n' | '\t' | '\u{1b}') || !is_hidden(it))
}

fn with_spaces(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&is_kept) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|it| if is_kept(it) { it } else { ' ' }).collect())
}

/// Whether the text contains no character that could control a terminal.
#[cfg(test)]
pub(crate) fn is_visible(text: &str) -> bool {
    text.chars().all(|it| matches!(it, '\n' | '\t') || !is_hidden(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_in_its_line_and_commands_nothing() {
        for text in HOSTILE {
            let shown = visible(text);
            assert!(is_visible(&shown) && !shown.contains(['\n', '\t']), "{shown:?}");
            assert_eq!(shown.chars().count(), text.chars().count());
            assert!(is_visible(&visible_lines(text)), "{text:?}");
            let cell = escaped(text);
            assert!(is_visible(&cell) && !cell.contains(['\n', '\t']), "{cell:?}");
        }
        assert_eq!(visible("grüße, 你好, שלום, 🙂"), "grüße, 你好, שלום, 🙂");
    }

    #[test]
    fn a_cell_keeps_what_it_escapes() {
        assert_eq!(escaped("a\u{1b}[2J\u{202e}\\"), "a\\u001b[2J\\u202e\\\\");
    }
}
