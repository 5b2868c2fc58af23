//! What can be wrong with something that came over the wire, or was about to.

use crate::is_hidden;

/// A text, topic or body that breaks the protocol. The message says which rule, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtoError {
    /// An id that the service would not accept.
    #[error("{what} `{value}` is not valid: {rule}")]
    Id {
        /// Which id, in the service's words.
        what: &'static str,
        /// The text, cut to 160 characters.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// An MQTT topic that is not one of the documented ones.
    #[error("the topic `{topic}` is not valid: {rule}")]
    Topic {
        /// The topic, cut to 160 characters.
        topic: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A user name that the service would not accept.
    #[error("the MQTT user name is not valid: {rule}")]
    Username {
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A property bag that cannot be read.
    #[error("the property bag is not valid: {rule}")]
    PropertyBag {
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A property of a twin that a hub would not take.
    #[error("the property `{path}` is not valid: {rule}")]
    Property {
        /// Its names from the outermost on, joined by dots, cut to 160 characters.
        path: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A body that is not the JSON it should be.
    #[error("the answer is not the JSON that was expected ({problem}); it begins with `{excerpt}`")]
    Json {
        /// What the JSON reader says.
        problem: String,
        /// The first 80 characters, control characters removed.
        excerpt: String,
    },
    /// A registration that has ended, as the service says, in a way that this version does not know.
    #[error("the registration ended with the status `{0}`, which this version of hubward does not know")]
    UnknownStatus(
        /// The service's word, as an [`Excerpt`](crate::Excerpt) shows it.
        String,
    ),
    /// An answer that lacks something it must have.
    #[error("the answer lacks `{0}`")]
    Missing(&'static str),
    /// More bytes than allowed.
    #[error("{what} has {size} bytes, but at most {limit} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes, as the service counts.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer did something the protocol has no place for.
    #[error("{0}")]
    Unexpected(String),
}

impl ProtoError {
    /// A JSON problem with the beginning of the body that had it.
    #[must_use]
    pub fn json(problem: &serde_json::Error, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(320)]);
        let excerpt = text.chars().filter(|it| !is_hidden(*it)).take(80).collect();
        // A reader that met the wrong type quotes what it met.
        Self::Json { problem: cut(&problem.to_string()), excerpt }
    }

    pub(crate) fn topic(topic: &str, rule: &'static str) -> Self {
        Self::Topic { topic: cut(topic), rule }
    }

    pub(crate) fn property(path: &str, rule: &'static str) -> Self {
        Self::Property { path: cut(path), rule }
    }

    pub(crate) fn id(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self::Id { what, value: cut(value), rule }
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|it| !is_hidden(*it)).take(160).collect()
}
