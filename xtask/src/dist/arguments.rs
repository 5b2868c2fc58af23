//! The arguments of `cargo xtask dist`.

use std::path::PathBuf;

/// The arguments of `cargo xtask dist`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The kinds to build; empty for all.
    only: Vec<String>,
    /// Whether to install and use each package.
    pub(super) test: bool,
    pub(super) program: Program,
}

/// The program that the packages contain.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Built by cargo with this profile.
    Profile(&'static str),
    /// A file that exists.
    File(PathBuf),
}

impl Arguments {
    /// Whether to build the kind with this name.
    pub(super) fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| it == name)
    }
}

/// Parses the arguments. `names` are the names of all kinds.
pub(super) fn parse(arguments: &[String], names: &[&str]) -> Result<Arguments, String> {
    let (mut only, mut test, mut program) = (Vec::new(), false, None);
    let mut words = arguments.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        match word {
            "--test" => test = true,
            "--only" => {
                let before = only.len();
                while let Some(name) = words.next_if(|it| !it.starts_with('-')) {
                    if !names.contains(&name) {
                        return Err(format!("--only: `{name}` is not one of {}", names.join(", ")));
                    }
                    only.push(name.to_owned());
                }
                if only.len() == before {
                    return Err(format!("--only needs at least one of {}", names.join(", ")));
                }
            }
            "--release" | "--binary" if program.is_some() => {
                return Err("dist packs one program; give `--release` or `--binary PATH`, and give it once".to_owned());
            }
            "--release" => program = Some(Program::Profile("release")),
            "--binary" => match words.next() {
                // The path is relative to the caller's folder. xtask starts other programs in the root folder of the
                // repository, so they need an absolute path.
                Some(path) => program = Some(Program::File(std::path::absolute(path).map_err(|it| it.to_string())?)),
                None => return Err("--binary needs the path of a program".to_owned()),
            },
            other => return Err(format!("`dist` does not know the argument `{other}`; see cargo xtask help dist")),
        }
    }
    Ok(Arguments { only, test, program: program.unwrap_or(Program::Profile("dist")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words, &["deb", "npm", "wheel"])
    }

    #[test]
    fn reads_every_argument() {
        let all = parse_line("").expect("valid");
        assert_eq!(all, Arguments { only: vec![], test: false, program: Program::Profile("dist") });
        assert!(all.includes("deb") && all.includes("npm"));

        let some = parse_line("--only deb npm --test --release --only wheel").expect("valid");
        assert_eq!(some.only, ["deb", "npm", "wheel"]);
        assert_eq!((some.test, &some.program), (true, &Program::Profile("release")));
        let one = parse_line("--only deb --binary a/b").expect("valid");
        assert!(one.includes("deb") && !one.includes("npm"));
        assert!(matches!(one.program, Program::File(path) if path.is_absolute() && path.ends_with("a/b")));
    }

    #[test]
    fn an_invalid_argument_is_named() {
        for (line, expected) in [
            ("--only rpm", "`rpm` is not one of deb, npm, wheel"),
            ("--only --test", "--only needs at least one of"),
            ("--binary", "--binary needs the path"),
            ("--release --binary a", "packs one program"),
            ("--fast", "`--fast`"),
            ("deb", "`deb`"),
        ] {
            let problem = parse_line(line).expect_err(line);
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }
}
