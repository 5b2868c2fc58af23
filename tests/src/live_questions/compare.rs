//! Compares the answers of two clouds.

use super::record::{Answer, Finding};

/// The text that the comparison uses for a cloud without the observation, if the other cloud has it.
const ABSENT: &str = "(not observed)";

/// One observation that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) number: u8,
    pub(super) observation: String,
    pub(super) live: String,
    pub(super) emulator: String,
}

/// Returns the differences, in the order of questions and observations. If one of the two runs skipped the request for
/// an observation, the function ignores the observation.
pub(super) fn differences(live: &[Answer], emulated: &[Answer]) -> Vec<Difference> {
    let mut found = Vec::new();
    for answer in live {
        let Some(other) = emulated.iter().find(|it| it.number == answer.number) else { continue };
        let only_there = other.observations.iter().filter(|it| answer.finding(&it.0).is_none());
        let names = answer.observations.iter().chain(only_there).map(|it| &it.0);
        for name in names {
            let (live, emulator) = (seen(answer, name), seen(other, name));
            if let (Some(live), Some(emulator)) = (live, emulator)
                && live != emulator
            {
                let (live, emulator) = (live.to_owned(), emulator.to_owned());
                found.push(Difference { number: answer.number, observation: name.clone(), live, emulator });
            }
        }
    }
    found
}

/// Returns the text of an observation. Returns `None` if the answer cannot contain the observation: the run skipped its
/// request, or the question stopped early.
fn seen<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    match answer.finding(name) {
        Some(Finding::Seen(text)) => Some(text),
        Some(Finding::NotAsked(_)) => None,
        None if answer.stopped.is_some() || follows_unasked(answer, name) => None,
        None => Some(ABSENT),
    }
}

/// Returns `true` for an observation `NAME: DETAIL` if the run skipped the request for the observation `NAME`.
fn follows_unasked(answer: &Answer, name: &str) -> bool {
    answer.observations.iter().any(|(other, finding)| {
        let is_detail = name.strip_prefix(other.as_str()).is_some_and(|it| it.starts_with(": "));
        is_detail && matches!(finding, Finding::NotAsked(_))
    })
}

/// The differences as a Markdown table.
pub(super) fn table(differences: &[Difference]) -> String {
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    let mut table = "| question | observation | live | emulator |\n|---|---|---|---|\n".to_owned();
    for Difference { number, observation, live, emulator } in differences {
        let (observation, live, emulator) = (cell(observation), cell(live), cell(emulator));
        table.push_str(&format!("| {number} | {observation} | {live} | {emulator} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(observations: &[(&str, &str)]) -> Answer {
        let mut answer = Answer::new(7, "Test");
        for (name, text) in observations {
            let finding = match text.strip_prefix('?') {
                Some(reason) => Finding::NotAsked(reason.to_owned()),
                None => Finding::Seen((*text).to_owned()),
            };
            answer.observations.push(((*name).to_owned(), finding));
        }
        answer
    }

    #[test]
    fn every_difference_is_found() {
        let live = [answer(&[("same", "1"), ("other", "2"), ("not asked", "?why"), ("only live", "3")])];
        let emulated = [answer(&[
            ("same", "1"),
            ("other", "x|y"),
            ("not asked", "1"),
            ("not asked: shape", "{}"),
            ("only emulator", "4"),
        ])];
        let found = differences(&live, &emulated);
        let names: Vec<&str> = found.iter().map(|it| it.observation.as_str()).collect();
        assert_eq!(names, ["other", "only live", "only emulator"]);
        assert!(table(&found).contains("| 7 | other | 2 | x\\|y |\n"), "{}", table(&found));

        let mut stopped = answer(&[("same", "1")]);
        stopped.stopped = Some("why".into());
        assert_eq!(differences(&[stopped], &emulated), []);
    }
}
