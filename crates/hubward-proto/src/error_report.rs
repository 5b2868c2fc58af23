//! The text that a person reads for an error: its message, and the messages of its causes. The crates that depend on
//! this crate use this text as the `Debug` of their errors.

use std::error::Error;
use std::fmt;

use crate::is_hidden;

/// Implements [`Debug`](fmt::Debug) for error types with [`write_error_report`].
///
/// If `main` returns an error, Rust prints the `Debug` of the error. The user then reads messages instead of the names
/// of variants and fields.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_as_error_report {
    ($($error:ty),+ $(,)?) => {$(
        impl ::std::fmt::Debug for $error {
            /// Writes the message of the error, then the messages of its causes.
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                $crate::write_error_report(self, f)
            }
        }
    )+};
}

/// Returns the message of an error and the messages of its causes, outermost first.
///
/// Leaves out a cause whose message is already part of the message before it.
#[must_use]
pub fn error_messages(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if texts.last().is_none_or(|it| !it.contains(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    texts
}

/// Writes the message of an error and the messages of its causes, laid out as the crate `anyhow` does.
///
/// The message comes first. If the error has causes, an empty line, the line `Caused by:` and one line for each cause
/// follow. If there is more than one cause, these lines have numbers.
///
/// Writes a space in place of each [hidden character](is_hidden): a message may contain text from a peer, and such a
/// character could control the terminal.
///
/// # Errors
/// The errors of the formatter.
#[doc(hidden)]
pub fn write_error_report(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let messages = error_messages(error);
    for (at, message) in messages.iter().enumerate() {
        if at == 1 {
            f.write_str("\n\nCaused by:")?;
        }
        match at {
            0 => {}
            _ if messages.len() == 2 => f.write_str("\n    ")?,
            _ => write!(f, "\n    {}: ", at - 1)?,
        }
        write_visible(message, f)?;
    }
    Ok(())
}

fn write_visible(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;

    text.chars().try_for_each(|it| f.write_char(if is_hidden(it) { ' ' } else { it }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with this message, and perhaps a cause.
    #[derive(thiserror::Error)]
    #[error("{text}")]
    struct Sample {
        text: &'static str,
        #[source]
        cause: Option<Box<Self>>,
    }

    debug_as_error_report!(Sample);

    /// An error and its causes, outermost first.
    fn chain(texts: &[&'static str]) -> Sample {
        let (text, causes) = texts.split_first().expect("at least one text");
        Sample { text, cause: (!causes.is_empty()).then(|| Box::new(chain(causes))) }
    }

    #[test]
    fn debug_is_the_message_then_the_causes() {
        for (texts, expected) in [
            (&["no network"][..], "no network"),
            (&["no login", "refused"], "no login\n\nCaused by:\n    refused"),
            (&["no login", "no connection", "refused"], "no login\n\nCaused by:\n    0: no connection\n    1: refused"),
        ] {
            assert_eq!(format!("{:?}", chain(texts)), expected);
            assert_eq!(format!("{:#?}", chain(texts)), expected);
        }
    }

    #[test]
    fn a_message_that_the_message_before_it_contains_is_left_out() {
        let error = chain(&["refused (after 3 attempts)", "refused", "code 5"]);
        assert_eq!(error_messages(&error), ["refused (after 3 attempts)", "code 5"]);
        assert_eq!(format!("{error:?}"), "refused (after 3 attempts)\n\nCaused by:\n    code 5");
    }

    #[test]
    fn the_text_of_a_peer_cannot_control_the_terminal() {
        let error = chain(&["refused:\u{1b}[31m", "line\nbreak"]);
        assert_eq!(format!("{error:?}"), "refused: [31m\n\nCaused by:\n    line break");
    }
}
