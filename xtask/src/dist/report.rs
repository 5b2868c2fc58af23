//! The lines that `cargo xtask dist` prints about packages.

use std::fmt;
use std::path::Path;

/// The outcome of each kind.
#[derive(Debug, Default)]
pub(super) struct Report {
    outcomes: Vec<(&'static str, Result<(), String>)>,
}

impl Report {
    /// Adds the outcome of a kind, and prints a problem immediately.
    pub(super) fn add(&mut self, kind: &'static str, outcome: Result<(), String>) {
        if let Err(problem) = &outcome {
            eprintln!("xtask dist: {kind}: {problem}");
        }
        self.outcomes.push((kind, outcome));
    }

    pub(super) fn has_passed(&self) -> bool {
        self.outcomes.iter().all(|(_, outcome)| outcome.is_ok())
    }
}

impl fmt::Display for Report {
    /// One line per kind, and the totals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, outcome) in &self.outcomes {
            match outcome {
                Ok(()) => writeln!(f, "ok      {kind}")?,
                // Only the first line; `add` has printed the rest.
                Err(problem) => writeln!(f, "FAILED  {kind}: {}", problem.lines().next().unwrap_or_default())?,
            }
        }
        let passed = self.outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        write!(f, "{passed} passed, {} failed", self.outcomes.len() - passed)
    }
}

/// The name and the size of a file.
pub(super) fn size_line(file: &Path) -> Result<String, String> {
    let metadata = file.metadata().map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(format!("{:>9}  {}", size(metadata.len()), file.file_name().unwrap_or_default().display()))
}

/// Formats a size for a person, with one decimal place. 1 kB is 1,000 bytes, and 1 MB is 1,000,000 bytes.
fn size(bytes: u64) -> String {
    let (unit, name) = if bytes < 1_000_000 { (1_000, "kB") } else { (1_000_000, "MB") };
    let tenths = (bytes * 10 + unit / 2) / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_place() {
        for (bytes, expected) in
            [(0, "0.0 kB"), (1_049, "1.0 kB"), (1_050, "1.1 kB"), (999_000, "999.0 kB"), (12_345_678, "12.3 MB")]
        {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn the_report_names_each_kind_and_fails_if_one_failed() {
        let mut report = Report::default();
        report.add("deb", Ok(()));
        assert!(report.has_passed());
        report.add("npm", Err("no node\nmore".to_owned()));
        assert!(!report.has_passed());
        assert_eq!(report.to_string(), "ok      deb\nFAILED  npm: no node\n1 passed, 1 failed");
    }
}
