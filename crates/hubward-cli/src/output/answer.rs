//! What a service answered to a command: its own body for programs, a table for scripts, words for
//! people. The shape is a documented interface: see docs/cli.md.

use std::borrow::Cow;

use hubward_service::RawValue;
use serde_json::Value;

use super::table::{Column, Table};
use super::visible::visible;
use super::{Format, Output};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// An answer, ready to be shown in any format.
#[derive(Debug)]
pub(crate) struct Answer {
    /// As it came; empty where the service answers without a body.
    body: String,
    /// For people; made from the body unless the command has better words.
    text: String,
    table: Table,
}

impl Answer {
    /// The answer is one thing, or a list of things: the body is a JSON object or array.
    ///
    /// Keys in it stand in the text only if `reveal`; JSON is always what the service said.
    pub(crate) fn of(body: impl Into<String>, columns: &[Column], reveal: bool) -> Result<Self, Failure> {
        let body = body.into();
        let parsed: Value = serde_json::from_str(&body).map_err(|error| not_json(&error))?;
        let (text, table) = match &parsed {
            Value::Array(rows) => {
                let table = Table::of(rows, columns);
                (table.for_people(), table)
            }
            one => (described(one, reveal), Table::of(std::slice::from_ref(one), columns)),
        };
        Ok(Self { body, text, table })
    }

    /// An answer of which a part has rows.
    #[cfg(feature = "emulator")]
    pub(crate) fn with_rows(body: impl Into<String>, rows: &[Value], columns: &[Column]) -> Self {
        let table = Table::of(rows, columns);
        Self { body: body.into(), text: table.for_people(), table }
    }

    /// Rows whose columns nobody knows before: each name that occurs, in the order of the names.
    pub(crate) fn of_any_rows(body: impl Into<String>) -> Result<Self, Failure> {
        let body = body.into();
        let rows: Vec<Value> = serde_json::from_str(&body).map_err(|error| not_json(&error))?;
        let table = Table::of_any(&rows);
        Ok(Self { body, text: table.for_people(), table })
    }

    /// The service has done it and says nothing: neither do we, but to people.
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { body: String::new(), text: text.into(), table: Table::default() }
    }

    /// One value that we made ourselves: a token, a connection string. JSON is an object with it, the
    /// other formats have the value alone, for `$(…)`.
    pub(crate) fn value(name: &'static str, value: &str) -> Self {
        let body = serde_json::json!({ name: value }).to_string();
        Self { body, text: value.to_owned(), table: Table::single(name, value) }
    }

    /// All of it in one format.
    pub(super) fn in_format(&self, format: Format) -> Cow<'_, str> {
        match format {
            Format::Json => Cow::Borrowed(&self.body),
            Format::Text => Cow::Borrowed(&self.text),
            Format::Table => Cow::Owned(self.table.aligned()),
            Format::Tsv => Cow::Owned(self.table.tsv()),
        }
    }

    /// The words for people.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// What follows the words for people.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.text.push_str(more);
        self
    }
}

impl Output {
    /// Shows what a service answered, which is the end of the command.
    pub(crate) async fn answer(&self, answer: &Answer) -> ExitCode {
        let text = answer.in_format(self.format);
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return ExitCode::Ok;
        }
        match self.format {
            Format::Json => self.exact(text.to_owned()).await,
            _ => self.line(text).await,
        }
        ExitCode::Ok
    }
}

/// A list of the service's own things, in its order, as they came.
pub(crate) fn list(things: &[Box<RawValue>]) -> String {
    let things: Vec<&str> = things.iter().map(|it| it.get()).collect();
    format!("[{}]", things.join(","))
}

/// A thing as lines of names and values: `initialTwin.tags.site  a`.
fn described(value: &Value, reveal: bool) -> String {
    let mut lines = Vec::new();
    flatten("", value, reveal, &mut lines);
    let width = lines.iter().map(|(name, _)| name.chars().count()).filter(|it| *it <= WIDE).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// Longer names do not move the values of all others to the right.
const WIDE: usize = 40;

fn flatten(name: &str, value: &Value, reveal: bool, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            // When each property of a twin last changed is for programs.
            for (member, value) in members.iter().filter(|(member, _)| *member != "$metadata") {
                let path = if name.is_empty() { visible(member) } else { format!("{name}.{}", visible(member)) };
                if is_key(member) && !reveal && value.as_str().is_some_and(|it| !it.is_empty()) {
                    lines.push((path, HIDDEN.to_owned()));
                } else {
                    flatten(&path, value, reveal, lines);
                }
            }
        }
        Value::Null => {}
        Value::String(text) => lines.push((name.to_owned(), visible(text))),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}

/// Whether a member of an answer is a key: the names that both services use.
fn is_key(member: &str) -> bool {
    matches!(member, "primaryKey" | "secondaryKey")
}

/// In the place of a key.
pub(crate) const HIDDEN: &str = "(hidden, see --show-keys)";

fn not_json(error: &serde_json::Error) -> Failure {
    let message = format!("the service answered with what is not JSON: {error}");
    Failure::new(ExitCode::Protocol, "service-answer", hubward::Fault::Peer.to_string(), message)
        .hint("is this a proxy's page? --log debug shows more")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[("Id", "/registrationId"), ("Status", "/provisioningStatus")];
    const BODY: &str = r#"{"provisioningStatus" : "enabled","registrationId":"dev-1","attestation":{"symmetricKey":{"primaryKey":"c2VjcmV0"}},"nothing":null,"iotHubs":["a","b"]}"#;

    #[test]
    fn keys_stand_in_the_text_only_on_demand_and_in_json_as_the_service_said_it() {
        let answer = Answer::of(BODY, COLUMNS, false).expect("JSON");
        assert!(!answer.text.contains("c2VjcmV0"), "{}", answer.text);
        let line = answer.text.lines().find(|it| it.contains("primaryKey")).expect("a line");
        assert_eq!(line, "attestation.symmetricKey.primaryKey  (hidden, see --show-keys)");
        assert_eq!(answer.body, BODY);
        assert!(!answer.text.contains("nothing"), "{}", answer.text);
        let answer = Answer::of(BODY, COLUMNS, true).expect("JSON");
        assert!(answer.text.contains("primaryKey  c2VjcmV0"), "{}", answer.text);
    }

    #[test]
    fn things_of_a_list_are_as_they_came() {
        let things: Vec<Box<RawValue>> = serde_json::from_str(r#"[ {"a" :1.0}, 3 ]"#).expect("a list");
        assert_eq!(list(&things), r#"[{"a" :1.0},3]"#);
        assert_eq!(list(&[]), "[]");
    }

    #[test]
    fn what_is_not_json_is_the_services_fault() {
        let failure = Answer::of("<html>", COLUMNS, false).expect_err("a page of a proxy");
        assert_eq!(failure.exit_code, ExitCode::Protocol);
    }
}
