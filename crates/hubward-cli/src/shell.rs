//! Shell commands for the user to paste, in the syntax of each shell.

use clap::ValueEnum;

/// A family of shells, or a file with variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash, zsh, dash, …
    Sh,
    /// PowerShell.
    Pwsh,
    /// The Windows command prompt.
    Cmd,
    /// A `.env` file, for Docker Compose, python-dotenv, Node and systemd.
    Dotenv,
    /// The file that GITHUB_ENV names, in GitHub Actions.
    Github,
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
            Self::Dotenv => format!("{name}={}", dotenv_value(value)),
            Self::Github => github_variable(name, value),
        }
    }

    /// Returns a line that sets an environment variable to the output of a command. Call this only for a shell. The
    /// file formats (`Dotenv`, `Github`) cannot run commands.
    #[cfg(feature = "service")]
    pub(crate) fn export_output(self, name: &str, command: &str) -> String {
        match self {
            Self::Pwsh => format!("$env:{name} = {command}"),
            Self::Cmd => format!("for /f \"delims=\" %i in ('{command}') do @set \"{name}=%i\""),
            Self::Sh | Self::Dotenv | Self::Github => format!("export {name}=\"$({command})\""),
        }
    }

    /// A comment line. Returns an empty text if the file format has no comments.
    pub(crate) fn comment(self, text: &str) -> String {
        match self {
            Self::Sh | Self::Pwsh | Self::Dotenv => format!("# {text}"),
            Self::Cmd => format!("rem {text}"),
            Self::Github => String::new(),
        }
    }

    /// A line that removes a file if it exists.
    #[cfg(feature = "emulator")]
    pub(crate) fn remove(self, file: &str) -> String {
        let word = self.word(file);
        match self {
            Self::Sh | Self::Dotenv | Self::Github => format!("rm -f {word}"),
            Self::Pwsh => format!("Remove-Item -Force -ErrorAction Ignore {word}"),
            Self::Cmd => format!("if exist {word} del {word}"),
        }
    }

    /// Quotes a text as one word of a command line, such as a file name.
    pub(crate) fn word(self, text: &str) -> String {
        match self {
            _ if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
            Self::Sh | Self::Dotenv | Self::Github => format!("'{}'", text.replace('\'', r"'\''")),
            Self::Pwsh => format!("'{}'", text.replace('\'', "''")),
            Self::Cmd => format!("\"{text}\""),
        }
    }
}

/// Whether no shell gives the character a meaning of its own.
fn is_plain(it: char) -> bool {
    it.is_ascii_alphanumeric() || "-_./:=+,@%".contains(it)
}

/// Quotes a value for a `.env` file, but only if necessary, because `docker run --env-file` does not remove quotes.
///
/// Uses single quotes, if possible. All programs that read such a file, and a shell that sources it, take the text in
/// single quotes literally. If the value contains a single quote, uses double quotes.
fn dotenv_value(value: &str) -> String {
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let mut quoted = String::from("\"");
    for it in value.chars() {
        if matches!(it, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(it);
    }
    quoted + "\""
}

/// Returns the lines for the file `$GITHUB_ENV`, which sets variables for the next steps of a job in GitHub Actions.
///
/// The file has no quotes: a value of one line is literal. A value of several lines stands between two lines with a
/// delimiter. The value must not contain this delimiter.
fn github_variable(name: &str, value: &str) -> String {
    if !value.contains(['\n', '\r']) {
        return format!("{name}={value}");
    }
    let mut delimiter = "END_OF_VALUE".to_owned();
    while value.contains(&delimiter) {
        delimiter.push('_');
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dotenv_value_is_quoted_only_if_necessary() {
        for (value, expected) in [
            ("AbC+/=", "A=AbC+/="),
            ("HostName=h;SharedAccessKey=k=", "A='HostName=h;SharedAccessKey=k='"),
            ("$x # y", "A='$x # y'"),
            (r"C:\data\ca.pem", r"A='C:\data\ca.pem'"),
            ("", "A="),
            ("it's", "A=\"it's\""),
            ("it's \"$1\" \\", r#"A="it's \"\$1\" \\""#),
            ("two\nlines", "A='two\nlines'"),
        ] {
            assert_eq!(Shell::Dotenv.export("A", value), expected);
        }
    }

    #[test]
    fn a_github_value_is_literal_and_may_have_several_lines() {
        for (value, expected) in [
            ("a 'b' \"c\" $d <<e", "A=a 'b' \"c\" $d <<e"),
            ("", "A="),
            ("two\nlines", "A<<END_OF_VALUE\ntwo\nlines\nEND_OF_VALUE"),
            ("one\nEND_OF_VALUE", "A<<END_OF_VALUE_\none\nEND_OF_VALUE\nEND_OF_VALUE_"),
            ("carriage\rreturn", "A<<END_OF_VALUE\ncarriage\rreturn\nEND_OF_VALUE"),
        ] {
            assert_eq!(Shell::Github.export("A", value), expected);
        }
        // `$GITHUB_ENV` has no comments. A line that is neither empty nor a variable would fail the job.
        assert_eq!(Shell::Github.comment("text"), "");
    }

    #[test]
    fn words_are_quoted_for_a_posix_shell() {
        for (word, expected) in
            [("dev-1", "dev-1"), ("it's", r"'it'\''s'"), ("", "''"), ("a b", "'a b'"), ("$x", "'$x'")]
        {
            assert_eq!(Shell::Sh.word(word), expected);
        }
    }
}
