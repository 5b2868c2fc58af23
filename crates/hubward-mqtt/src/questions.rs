//! What was asked about the twin on this connection, and which answer belongs to which question.
//! Pure.

use std::collections::BTreeMap;

use hubward_transport::Tag;
use tokio::time::Instant;

/// What a question was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The whole twin.
    Twin,
    /// A change of the reported properties.
    Reported,
}

/// The unanswered questions of one connection; at most one for each tag.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: BTreeMap<Tag, u64>,
    /// What they are about and when they were asked, by their numbers.
    by_number: BTreeMap<u64, (About, Instant)>,
    /// Counts them, so that no two have the same request id.
    asked: u64,
}

impl Questions {
    /// The request id of a new question. One that was asked under the same tag before and is
    /// unanswered is forgotten: who asks again has given it up.
    pub(crate) fn ask(&mut self, tag: Tag, about: About, now: Instant) -> String {
        self.forget(tag);
        self.asked += 1;
        self.open.insert(tag, self.asked);
        self.by_number.insert(self.asked, (about, now));
        request_id(tag, self.asked)
    }

    /// An answer has come: whose, or `None` if it answers nothing that is open.
    pub(crate) fn answered(&mut self, id: &str) -> Option<(Tag, About)> {
        let (tag, _) = id.split_once('-')?;
        let tag = Tag(tag.parse().ok()?);
        let number = *self.open.get(&tag)?;
        if request_id(tag, number) != id {
            return None;
        }
        self.open.remove(&tag);
        self.by_number.remove(&number).map(|(about, _)| (tag, about))
    }

    /// Takes a question back that could not be written.
    pub(crate) fn forget(&mut self, tag: Tag) {
        if let Some(number) = self.open.remove(&tag) {
            self.by_number.remove(&number);
        }
    }

    pub(crate) fn contains(&self, tag: Tag) -> bool {
        self.open.contains_key(&tag)
    }

    /// When the newest of them was asked; `None` if there is none.
    pub(crate) fn newest(&self) -> Option<Instant> {
        self.by_number.last_key_value().map(|(_, (_, asked))| *asked)
    }
}

/// Any text without `&` will do; the official SDKs send numbers or UUIDs.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Retrieve a device twin's properties".
fn request_id(tag: Tag, number: u64) -> String {
    format!("{}-{number}", tag.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    fn tag(id: u16) -> Tag {
        Tag(NonZeroU16::new(id).expect("not zero"))
    }

    #[test]
    fn each_answer_finds_its_question_once() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        let later = now + std::time::Duration::from_secs(1);
        assert_eq!(questions.ask(tag(40_000), About::Twin, now), "40000-1");
        assert_eq!(questions.ask(tag(40_001), About::Reported, later), "40001-2");
        assert_eq!(questions.newest(), Some(later));
        for (id, expected) in [
            ("40001-2", Some((tag(40_001), About::Reported))),
            ("40001-2", None),
            ("40000-2", None),
            ("040000-1", None),
            ("40000-1 ", None),
            ("40000", None),
            ("-1", None),
            ("0-1", None),
            ("99999-1", None),
            ("", None),
            ("é-1", None),
            ("40000-1", Some((tag(40_000), About::Twin))),
        ] {
            assert_eq!(questions.answered(id), expected, "{id}");
            assert!(questions.newest() != Some(later), "that one is answered");
        }
        assert_eq!(questions.newest(), None);
    }

    #[test]
    fn the_answer_to_a_question_that_was_given_up_is_not_taken_for_the_next_ones() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        let first = questions.ask(tag(9), About::Twin, now);
        let second = questions.ask(tag(9), About::Reported, now);
        assert_eq!(questions.answered(&first), None);
        assert!(questions.contains(tag(9)));
        assert_eq!(questions.answered(&second), Some((tag(9), About::Reported)));
        assert_eq!(questions.newest(), None, "nothing is left of the one that was given up");
        questions.ask(tag(9), About::Twin, now);
        questions.forget(tag(9));
        assert!(questions.newest().is_none() && !questions.contains(tag(9)));
    }
}
