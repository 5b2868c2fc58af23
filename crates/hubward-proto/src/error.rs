//! Errors for data that is not valid: received data, or data that a caller wants to send.

use crate::is_hidden;

/// A text, topic or body that breaks the protocol. The message names the rule and contains no secret.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtoError {
    /// The service would not accept an id.
    #[error("{what} `{value}` is not valid: {rule}")]
    Id {
        /// The kind of id, in the service's words.
        what: &'static str,
        /// The text, shortened to 160 characters.
        value: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// An MQTT topic is not one of the documented topics.
    #[error("the topic `{topic}` is not valid: {rule}")]
    Topic {
        /// The topic, shortened to 160 characters.
        topic: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The service would not accept an MQTT user name.
    #[error("the MQTT user name is not valid: {rule}")]
    Username {
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A property bag is not valid.
    #[error("the property bag is not valid: {rule}")]
    PropertyBag {
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A hub would not accept a property of a twin.
    #[error("the property `{path}` is not valid: {rule}")]
    Property {
        /// The path of the property: the names from the outermost to the innermost, joined by dots. Shortened to 160
        /// characters.
        path: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A body is not the expected JSON.
    #[error("the answer is not the expected JSON ({problem}); it begins with `{excerpt}`")]
    Json {
        /// The error of the JSON parser.
        problem: String,
        /// The first 80 characters, control characters removed.
        excerpt: String,
    },
    /// The service ended a registration with a status that this version does not know.
    #[error("the registration ended with the status `{0}`, which this version of hubward does not know")]
    UnknownStatus(
        /// The status that the service sent, in the form of an [`Excerpt`](crate::Excerpt).
        String,
    ),
    /// The hub requires a connection profile that hubward does not support. hubward supports only `classic`.
    #[error("the hub requires the connection profile `{0}`, but hubward supports only `classic`")]
    ConnectionProfile(
        /// The profile that the service sent, in the form of an [`Excerpt`](crate::Excerpt).
        String,
    ),
    /// An answer lacks a required member.
    #[error("the answer lacks `{0}`")]
    Missing(&'static str),
    /// A message, body or text has more bytes than allowed.
    #[error("{what} has {size} bytes, but at most {limit} are allowed")]
    TooLarge {
        /// The name of the part that is too large.
        what: &'static str,
        /// The size of the part in bytes, as the service counts it.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer did something that the protocol does not allow.
    #[error("{0}")]
    Unexpected(String),
}

crate::debug_as_error_report!(ProtoError);

impl ProtoError {
    /// Creates a [`ProtoError::Json`] with the beginning of the body.
    #[must_use]
    pub fn json(problem: &serde_json::Error, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(320)]);
        let excerpt = text.chars().filter(|it| !is_hidden(*it)).take(80).collect();
        // If a value has the wrong type, the parser's message quotes the value. The value can be long, so shorten the
        // message.
        Self::Json { problem: shorten(&problem.to_string()), excerpt }
    }

    pub(crate) fn topic(topic: &str, rule: &'static str) -> Self {
        Self::Topic { topic: shorten(topic), rule }
    }

    pub(crate) fn property(path: &str, rule: &'static str) -> Self {
        Self::Property { path: shorten(path), rule }
    }

    pub(crate) fn id(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self::Id { what, value: shorten(value), rule }
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|it| !is_hidden(*it)).take(160).collect()
}
