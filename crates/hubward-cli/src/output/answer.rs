//! The answer of a service in each format: JSON for programs, `table` and `tsv` for scripts, text for people. JSON and
//! `tsv` are a documented interface: see docs/cli.md.

use std::borrow::Cow;

use hubward_service::RawValue;
use serde_json::Value;

use super::indent::indented;
use super::record::described;
use super::table::{Column, Table};
use super::{Format, Output};
use crate::exit_code::ExitCode;
use crate::failure::Failure;

/// An answer, ready to be shown in any format.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body as the service sent it; empty if there is none.
    body: String,
    /// The text for people. By default, the text shows the body.
    text: String,
    table: Table,
    /// Whether the text may contain keys.
    reveal: bool,
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
        Ok(Self { body, text, table, reveal })
    }

    /// Creates an answer whose body contains more than the rows. `table`, `tsv` and the text show only the rows.
    #[cfg(any(feature = "emulator", feature = "service"))]
    pub(crate) fn with_rows(body: impl Into<String>, rows: &[Value], columns: &[Column]) -> Self {
        let table = Table::of(rows, columns);
        Self { body: body.into(), text: table.for_people(), table, reveal: false }
    }

    /// Creates an answer with a list of records whose members are not known in advance. The columns are all member
    /// names, in alphabetical order.
    pub(crate) fn of_any_rows(body: impl Into<String>) -> Result<Self, Failure> {
        let body = body.into();
        let rows: Vec<Value> = serde_json::from_str(&body).map_err(|error| not_json(&error))?;
        let table = Table::of_any(&rows);
        Ok(Self { body, text: table.for_people(), table, reveal: false })
    }

    /// Creates an answer without a body. `text` is a confirmation, which only text mode prints.
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self { body: String::new(), text: text.into(), table: Table::default(), reveal: false }
    }

    /// Creates an answer with one value that the command computed itself, such as a token or a connection string.
    ///
    /// JSON is an object with one member. `text` and `tsv` print the value alone, so that a shell can insert it with
    /// `$(…)`. `table` adds a title.
    pub(crate) fn value(name: &'static str, value: &str) -> Self {
        let body = serde_json::json!({ name: value }).to_string();
        Self { body, text: value.to_owned(), table: Table::single(name, value), reveal: true }
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
    /// Prints the answer of a service, or the part of it that `--query` selects. This is the last output of the
    /// command.
    ///
    /// A terminal gets JSON with line ends and indentation. Any other reader gets the body as the service sent it.
    ///
    /// # Errors
    /// If `--query` cannot be applied to the answer.
    pub(crate) async fn answer(&self, answer: &Answer) -> Result<ExitCode, Failure> {
        let (text, is_exact) = self.selected(answer).await?;
        let text = text.trim_end_matches('\n');
        match self.format {
            _ if text.is_empty() => {}
            Format::Json if self.is_terminal => self.exact(indented(text)).await,
            Format::Json => self.exact(text.to_owned()).await,
            _ if is_exact && !self.is_terminal => self.exact(text.to_owned()).await,
            _ => self.line(text).await,
        }
        Ok(ExitCode::Ok)
    }

    /// Returns the text of the answer, and `true` if a pipe must get this text unchanged. This is necessary for a
    /// single value in the format `tsv`, because a script may need every character of it.
    async fn selected<'a>(&self, answer: &'a Answer) -> Result<(Cow<'a, str>, bool), Failure> {
        #[cfg(feature = "service")]
        if let Some(query) = self.query.as_ref().filter(|_| !answer.body.is_empty()) {
            let selection = query.apply(&answer.body).await?;
            let is_exact = self.format == Format::Tsv && selection.is_scalar();
            return Ok((Cow::Owned(selection.in_format(self.format, answer.reveal)), is_exact));
        }
        Ok((answer.in_format(self.format), false))
    }
}

/// Returns a JSON array of the records. Changes neither the text of a record nor the order of the records.
pub(crate) fn list(records: &[Box<RawValue>]) -> String {
    let records: Vec<&str> = records.iter().map(|it| it.get()).collect();
    format!("[{}]", records.join(","))
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
