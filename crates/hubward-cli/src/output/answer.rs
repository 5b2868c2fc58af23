//! The answer of a service in each format: JSON for programs, `table` and `tsv` for scripts, text for people. JSON and
//! `tsv` are a documented interface: see docs/cli.md.

use std::borrow::Cow;

use hubward_service::RawValue;
use serde_json::Value;

use super::table::{Column, Table};
use super::visible::visible;
use super::{Format, Output};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// Maximum width of the column that contains the names. A longer name does not make the column wider.
const WIDE: usize = 40;

/// Printed in place of a key.
pub(crate) const HIDDEN: &str = "(hidden, see --show-keys)";

/// An answer, ready to be shown in any format.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body as the service sent it; empty if there is none.
    body: String,
    /// The text for people. By default, the text shows the body.
    text: String,
    table: Table,
}

impl Answer {
    /// Creates an answer with one record or a list of records. The body is a JSON object or array.
    ///
    /// The text shows keys only if `reveal` is set. The JSON output is always the body of the service.
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

    /// Creates an answer whose body contains more than the rows. `table`, `tsv` and the text show only the rows.
    #[cfg(feature = "emulator")]
    pub(crate) fn with_rows(body: impl Into<String>, rows: &[Value], columns: &[Column]) -> Self {
        let table = Table::of(rows, columns);
        Self { body: body.into(), text: table.for_people(), table }
    }

    /// Creates an answer with a list of records whose members are not known in advance. The columns are all member
    /// names, in alphabetical order.
    pub(crate) fn of_any_rows(body: impl Into<String>) -> Result<Self, Failure> {
        let body = body.into();
        let rows: Vec<Value> = serde_json::from_str(&body).map_err(|error| not_json(&error))?;
        let table = Table::of_any(&rows);
        Ok(Self { body, text: table.for_people(), table })
    }

    /// Creates an answer without a body. `text` is a confirmation, which only text mode prints.
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { body: String::new(), text: text.into(), table: Table::default() }
    }

    /// Creates an answer with one value that the command computed itself, such as a token or a connection string.
    ///
    /// JSON is an object with one member. `text` and `tsv` print the value alone, so that a shell can insert it with
    /// `$(…)`. `table` adds a title.
    pub(crate) fn value(name: &'static str, value: &str) -> Self {
        let body = serde_json::json!({ name: value }).to_string();
        Self { body, text: value.to_owned(), table: Table::single(name, value) }
    }

    /// Returns the answer in this format.
    pub(super) fn in_format(&self, format: Format) -> Cow<'_, str> {
        match format {
            Format::Json => Cow::Borrowed(&self.body),
            Format::Text => Cow::Borrowed(&self.text),
            Format::Table => Cow::Owned(self.table.aligned()),
            Format::Tsv => Cow::Owned(self.table.tsv()),
        }
    }

    /// Replaces the text for people.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Appends to the text for people.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.text.push_str(more);
        self
    }
}

impl Output {
    /// Prints the answer of a service. This is the last output of the command.
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

/// Returns a JSON array of the records. Changes neither the text of a record nor the order of the records.
pub(crate) fn list(records: &[Box<RawValue>]) -> String {
    let records: Vec<&str> = records.iter().map(|it| it.get()).collect();
    format!("[{}]", records.join(","))
}

/// Returns a record as lines, each with a name and a value, such as `initialTwin.tags.site a`.
fn described(value: &Value, reveal: bool) -> String {
    let mut lines = Vec::new();
    flatten("", value, reveal, &mut lines);
    let width = lines.iter().map(|(name, _)| name.chars().count()).filter(|it| *it <= WIDE).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

fn flatten(name: &str, value: &Value, reveal: bool, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            // Skip `$metadata`. It contains the time of each change in a twin, which only programs need.
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

/// Returns whether the member with this name is a key. DPS and IoT Hub use the same names.
fn is_key(member: &str) -> bool {
    matches!(member, "primaryKey" | "secondaryKey")
}

fn not_json(error: &serde_json::Error) -> Failure {
    let message = format!("the answer of the service is not JSON: {error}");
    Failure::new(ExitCode::Protocol, "service-answer", hubward::Fault::Peer.to_string(), message)
        .hint("check whether a proxy answers in place of the service; --log debug shows more")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[("Id", "/registrationId"), ("Status", "/provisioningStatus")];
    const BODY: &str = concat!(
        r#"{"provisioningStatus" : "enabled","registrationId":"dev-1","#,
        r#""attestation":{"symmetricKey":{"primaryKey":"c2VjcmV0"}},"nothing":null,"iotHubs":["a","b"]}"#
    );

    #[test]
    fn text_hides_keys_unless_requested_and_json_keeps_the_body() {
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
    fn a_list_keeps_its_records_unchanged() {
        let records: Vec<Box<RawValue>> = serde_json::from_str(r#"[ {"a" :1.0}, 3 ]"#).expect("a list");
        assert_eq!(list(&records), r#"[{"a" :1.0},3]"#);
        assert_eq!(list(&[]), "[]");
    }

    #[test]
    fn a_body_that_is_not_json_is_a_protocol_error() {
        let failure = Answer::of("<html>", COLUMNS, false).expect_err("a page of a proxy");
        assert_eq!(failure.exit_code, ExitCode::Protocol);
    }
}
