//! Shell commands for the user to paste, in the syntax of each shell.

use clap::ValueEnum;

/// A family of shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh, dash, …
    Sh,
    /// PowerShell.
    Pwsh,
    /// The Windows command prompt.
    Cmd,
}

impl Shell {
    /// The default shell of this operating system.
    pub(crate) const fn here() -> Self {
        if cfg!(windows) { Self::Pwsh } else { Self::Sh }
    }

    /// Returns a line that sets an environment variable. The shell passes the variable to the programs that it starts.
    pub(crate) fn export(self, name: &str, value: &str) -> String {
        match self {
            Self::Sh => format!("export {name}='{}'", value.replace('\'', r"'\''")),
            Self::Pwsh => format!("$env:{name} = '{}'", value.replace('\'', "''")),
            Self::Cmd => format!("set \"{name}={value}\""),
        }
    }

    /// A comment line.
    pub(crate) fn comment(self, text: &str) -> String {
        match self {
            Self::Sh | Self::Pwsh => format!("# {text}"),
            Self::Cmd => format!("rem {text}"),
        }
    }

    /// A line that removes a file if it exists.
    #[cfg(feature = "emulator")]
    pub(crate) fn remove(self, file: &str) -> String {
        let word = self.word(file);
        match self {
            Self::Sh => format!("rm -f {word}"),
            Self::Pwsh => format!("Remove-Item -Force -ErrorAction Ignore {word}"),
            Self::Cmd => format!("if exist {word} del {word}"),
        }
    }

    /// Quotes a text as one word of a command line, such as a file name.
    pub(crate) fn word(self, text: &str) -> String {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./:=+,@%".contains(it);
        match self {
            _ if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
            Self::Sh => format!("'{}'", text.replace('\'', r"'\''")),
            Self::Pwsh => format!("'{}'", text.replace('\'', "''")),
            Self::Cmd => format!("\"{text}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_posix_shell() {
        for (word, expected) in
            [("dev-1", "dev-1"), ("it's", r"'it'\''s'"), ("", "''"), ("a b", "'a b'"), ("$x", "'$x'")]
        {
            assert_eq!(Shell::Sh.word(word), expected);
        }
    }
}
