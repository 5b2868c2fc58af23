//! The error for settings that cannot be read from environment variables.

use std::fmt;

use crate::advice::write_with_advice;
use crate::vars;

const NOT_SET: &str = "set these environment variables, or build the settings with `new`";

/// The missing and the invalid variables. The text of the error names all of them, and contains no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<SettingsProblem>,
}

/// A problem with one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsProblem {
    /// Name of the variable.
    pub variable: &'static str,
    /// Why the value is invalid; `None` if the variable is missing.
    pub invalid: Option<String>,
}

impl SettingsError {
    /// Returns all problems, in the order of the table at [`Settings::from_env`](crate::Settings::from_env).
    #[must_use]
    pub fn problems(&self) -> &[SettingsProblem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.problems.iter().filter(|it| it.invalid.is_none());
        let missing: Vec<String> = missing.map(|it| it.variable.to_owned() + alternative(it.variable)).collect();
        if !missing.is_empty() {
            write!(f, "not set: {}", missing.join(", "))?;
        }
        let mut separator = if missing.is_empty() { "" } else { "; " };
        for problem in &self.problems {
            if let Some(invalid) = &problem.invalid {
                write!(f, "{separator}{}: {invalid}", problem.variable)?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SettingsError {
    /// Writes the message and, if a variable is missing, a hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_missing = self.problems.iter().any(|it| it.invalid.is_none());
        write_with_advice(self, is_missing.then_some(NOT_SET), None, f)
    }
}

impl std::error::Error for SettingsError {}

/// The variables that a device can have instead of a missing one.
fn alternative(variable: &str) -> &'static str {
    if variable == vars::SYMMETRIC_KEY { " (or X509_CERT_FILE and X509_KEY_FILE)" } else { "" }
}

/// Collects the problems of all variables, so that one error can name all of them.
#[derive(Default)]
pub(crate) struct Problems(Vec<SettingsProblem>);

impl Problems {
    /// Returns the settings, or all collected problems as an error.
    pub(crate) fn into_result<T>(self, read: Option<T>) -> Result<T, SettingsError> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(SettingsError { problems: self.0 }),
        }
    }

    /// Adds the problems of other settings.
    pub(crate) fn absorb<T>(&mut self, settings: Result<T, SettingsError>) -> Option<T> {
        settings.map_err(|error| self.0.splice(0..0, error.problems).for_each(drop)).ok()
    }

    pub(crate) fn missing(&mut self, variable: &'static str) {
        self.0.push(SettingsProblem { variable, invalid: None });
    }

    pub(crate) fn invalid(&mut self, variable: &'static str, problem: String) {
        self.0.push(SettingsProblem { variable, invalid: Some(problem) });
    }

    pub(crate) fn required<S: AsRef<str>, T, E: fmt::Display>(
        &mut self,
        variable: &'static str,
        value: Option<S>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if value.is_none() {
            self.missing(variable);
        }
        self.optional(variable, value, parse)
    }

    pub(crate) fn optional<S: AsRef<str>, T, E: fmt::Display>(
        &mut self,
        variable: &'static str,
        value: Option<S>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(value?.as_ref().trim()) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.invalid(variable, problem.to_string());
                None
            }
        }
    }
}
