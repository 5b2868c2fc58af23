//! Writes the answers to a folder: one JSON file per question, and `summary.md`.

use std::fs;
use std::path::Path;

use super::compare::{self, Difference};
use super::record::{Answer, Finding};

/// Creates the folder for the results. The run calls this function before it asks the first question: if the folder
/// cannot be created, the run stops before it has answers that it cannot store.
pub(super) fn prepare(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

/// Writes all files.
pub(super) fn write(
    folder: &Path,
    live: &[Answer],
    emulated: &[Answer],
    differences: &[Difference],
) -> Result<(), String> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    for (prefix, answers) in [("question", live), ("emulator", emulated)] {
        for answer in answers {
            write(&format!("{prefix}-{:02}.json", answer.number), format!("{:#}\n", answer.json()))?;
        }
    }
    write("summary.md", summary(live, emulated, differences))
}

fn summary(live: &[Answer], emulated: &[Answer], differences: &[Difference]) -> String {
    let mut text = format!("# Live questions\n\nhubward {}.\n\n## Differences\n\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&if differences.is_empty() { "None.\n".to_owned() } else { compare::table(differences) });
    for (title, answers) in [("Not asked", live), ("Not asked of the emulator", emulated)] {
        let lines = not_asked(answers);
        if !lines.is_empty() {
            let lines: Vec<String> = lines.iter().map(|it| format!("- {it}\n")).collect();
            text.push_str(&format!("\n## {title}\n\n{}", lines.concat()));
        }
    }
    text.push_str("\n## Answers\n");
    for answer in live {
        text.push_str(&format!("\n{}. {}\n\n", answer.number, answer.title));
        for (name, finding) in &answer.observations {
            let finding = match finding {
                Finding::Seen(text) => format!("`{}`", text.replace('`', "'")),
                Finding::NotAsked(reason) => format!("not asked: {reason}"),
            };
            text.push_str(&format!("   - {name}: {finding}\n"));
        }
    }
    text
}

/// Returns one line for each observation whose request the run skipped, and one line for each question that stopped
/// early. Each line contains the reason.
pub(super) fn not_asked(answers: &[Answer]) -> Vec<String> {
    let mut lines = Vec::new();
    for answer in answers {
        for (name, finding) in &answer.observations {
            if let Finding::NotAsked(reason) = finding {
                lines.push(format!("question {}, {name}: not asked: {reason}", answer.number));
            }
        }
        if let Some(reason) = &answer.stopped {
            lines.push(format!(
                "question {}, {}: stopped, the rest is not asked: {reason}",
                answer.number, answer.title
            ));
        }
    }
    lines
}
