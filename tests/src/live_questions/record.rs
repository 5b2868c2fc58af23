//! The results of one question: the observations, which the run compares with those of the emulator, and the exchanges
//! from which the observations come. An exchange is a request and the service's reply.

use serde_json::{Value, json};

/// Maximum number of recorded exchanges per question. The run counts further exchanges but does not record them.
const EXCHANGES_MAX: usize = 512;

/// Maximum length of a recorded request or reply, in bytes. The rest is not recorded.
const TEXT_MAX: usize = 4096;

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The behaviour of the cloud. Parts that differ from run to run are replaced.
    Seen(String),
    /// The reason why the run did not ask the cloud.
    NotAsked(String),
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) request: String,
    pub(super) answer: String,
}

/// The answer to one question.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) number: u8,
    pub(super) title: &'static str,
    pub(super) observations: Vec<(String, Finding)>,
    pub(super) exchanges: Vec<Exchange>,
    /// The number of exchanges that the run did not record.
    pub(super) skipped: usize,
    /// The reason why the question stopped early.
    pub(super) stopped: Option<String>,
}

impl Answer {
    pub(super) fn new(number: u8, title: &'static str) -> Self {
        Self { number, title, ..Self::default() }
    }

    pub(super) fn keep(&mut self, request: &str, answer: &str) {
        if self.exchanges.len() < EXCHANGES_MAX {
            self.exchanges.push(Exchange { request: cut(request), answer: cut(answer) });
        } else {
            self.skipped += 1;
        }
    }

    pub(super) fn finding(&self, name: &str) -> Option<&Finding> {
        self.observations.iter().find(|it| it.0 == name).map(|it| &it.1)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.stopped.is_none() && self.observations.iter().all(|it| matches!(it.1, Finding::Seen(_)))
    }

    /// The content of the answer's file.
    pub(super) fn json(&self) -> Value {
        let observations: Vec<Value> = self
            .observations
            .iter()
            .map(|(name, finding)| match finding {
                Finding::Seen(text) => json!({ "name": name, "seen": text }),
                Finding::NotAsked(reason) => json!({ "name": name, "notAsked": reason }),
            })
            .collect();
        let exchanges: Vec<Value> =
            self.exchanges.iter().map(|it| json!({ "request": it.request, "answer": it.answer })).collect();
        json!({
            "question": self.number,
            "title": self.title,
            "stopped": self.stopped,
            "observations": observations,
            "exchanges": exchanges,
            "exchangesNotKept": self.skipped,
        })
    }
}

fn cut(text: &str) -> String {
    if text.len() <= TEXT_MAX {
        return text.to_owned();
    }
    let end = (0..=TEXT_MAX).rev().find(|it| text.is_char_boundary(*it)).unwrap_or_default();
    format!("{}… ({} bytes)", &text[..end], text.len())
}
