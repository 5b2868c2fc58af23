//! The part of an answer that `--query` selects. In `table` and `tsv`, it has the same rows and columns as in `az`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Format;
use super::never::time_or_never;
use super::record::described_members;
use super::table::{Table, cell};
use super::visible::visible;

/// The selected part.
#[derive(Debug)]
pub(super) struct Selection {
    json: String,
    value: Value,
    /// The member names of objects, in the order of the expression.
    shapes: Vec<Vec<String>>,
}

impl Selection {
    /// Takes the selected part as JSON, and the member names of each `{…}` in the expression.
    ///
    /// # Errors
    /// If the part is nested too deeply.
    pub(super) fn new(json: String, shapes: Vec<Vec<String>>) -> Result<Self, String> {
        let value = serde_json::from_str(&json).map_err(|error| format!("the result cannot be printed: {error}"))?;
        Ok(Self { json, value, shapes })
    }

    /// Whether the part is a text, a number, `true` or `false`.
    pub(super) const fn is_scalar(&self) -> bool {
        is_scalar(&self.value)
    }

    /// Returns the part in this format. For `null`, returns an empty text, because `az` prints nothing.
    ///
    /// If the part is an object, the format `text` hides secret keys in it, unless `reveal` is set.
    pub(super) fn in_format(&self, format: Format, reveal: bool) -> String {
        match (format, &self.value) {
            (_, Value::Null) => String::new(),
            (Format::Json, _) => self.json.clone(),
            (Format::Table, _) => self.table(false).aligned(),
            (Format::Tsv | Format::Text, one) if is_scalar(one) => cell(Some(one)),
            (Format::Tsv, _) => self.table(true).tsv(),
            (Format::Text, Value::Object(members)) => described_members(&self.members(members), reveal),
            (Format::Text, Value::Array(rows)) if !rows.is_empty() && rows.iter().all(is_scalar) => {
                rows.iter().map(|it| visible(time_or_never(&cell(Some(it)))) + "\n").collect()
            }
            (Format::Text, _) => self.table(false).for_people(),
        }
    }

    /// Returns the part as a table. Each element of a list is a row, and any other value is the only row.
    ///
    /// If all rows are objects, the table has a column for each member. If all rows are single values, such as texts
    /// and numbers, the table has the column `Result`. Otherwise, the columns have numbers.
    ///
    /// A member that is an object or a list gets a column only if `with_nested` is set, or if there is no other member.
    fn table(&self, with_nested: bool) -> Table {
        let rows = match &self.value {
            Value::Array(rows) => rows.as_slice(),
            one => std::slice::from_ref(one),
        };
        let objects: Option<Vec<Vec<(&String, &Value)>>> =
            rows.iter().map(|it| it.as_object().map(|it| self.members(it))).collect();
        if let Some(objects) = objects.filter(|it| !it.is_empty()) {
            return of_objects(&objects, with_nested);
        }
        let rows: Vec<Vec<String>> = rows.iter().map(|it| self.cells(it)).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let is_list = self.value.as_array().is_some_and(|it| !it.iter().all(is_scalar));
        let title = |number: usize| if is_list { format!("Column{number}") } else { "Result".to_owned() };
        Table::new((1..=columns).map(title).collect(), rows)
    }

    fn cells(&self, row: &Value) -> Vec<String> {
        match row {
            Value::Array(cells) => cells.iter().map(|it| cell(Some(it))).collect(),
            Value::Object(members) => self.members(members).iter().map(|(_, it)| cell(Some(it))).collect(),
            one => vec![cell(Some(one))],
        }
    }

    /// Returns the members in the order of the expression. If the expression did not build the object, the members are
    /// in alphabetical order.
    fn members<'a>(&self, object: &'a Map<String, Value>) -> Vec<(&'a String, &'a Value)> {
        let fits = |it: &&Vec<String>| it.len() == object.len() && it.iter().all(|name| object.contains_key(name));
        match self.shapes.iter().find(fits) {
            Some(names) => names.iter().filter_map(|it| object.get_key_value(it)).collect(),
            None => object.iter().collect(),
        }
    }
}

const fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// A table with a column for each member name, in the order in which the names first appear.
fn of_objects(rows: &[Vec<(&String, &Value)>], with_nested: bool) -> Table {
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for (name, value) in rows.iter().flatten() {
        if (with_nested || !matches!(value, Value::Object(_) | Value::Array(_))) && seen.insert(name.as_str()) {
            names.push(name.as_str());
        }
    }
    if names.is_empty() && !with_nested {
        return of_objects(rows, true);
    }
    let row = |members: &Vec<(&String, &Value)>| {
        let members: BTreeMap<&str, &Value> = members.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        names.iter().map(|it| cell(members.get(it).copied())).collect()
    };
    Table::new(names.iter().map(|it| title(it)).collect(), rows.iter().map(row).collect())
}

/// Returns the name with a capital first letter, as `az` prints it.
fn title(name: &str) -> String {
    let mut rest = name.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(json: &str) -> Selection {
        let shapes = vec![vec!["z".to_owned(), "a".to_owned()]];
        Selection::new(json.to_owned(), shapes).expect("JSON")
    }

    #[test]
    fn tables_have_the_rows_and_columns_of_az() {
        for (json, table, tsv) in [
            // Objects.
            (r#"[{"a":1.0,"z":"b"},{"a":2,"z":null}]"#, "Z  A\n-  ---\nb  1.0\n   2\n", "b\t1.0\n\t2\n"),
            (r#"{"a":true,"z":"b"}"#, "Z  A\n-  ----\nb  true\n", "b\ttrue\n"),
            (r#"[{"b":1},{"c":2,"b":{}}]"#, "B   C\n--  -\n1\n{}  2\n", "1\t\n{}\t2\n"),
            (r#"[{"k":{"x":1},"n":"0001-01-01T00:00:00Z"}]"#, "N\n-----\nnever\n", "{\"x\":1}\t0001-01-01T00:00:00Z\n"),
            (r#"[{"k":{"x":1}}]"#, "K\n-------\n{\"x\":1}\n", "{\"x\":1}\n"),
            // Lists.
            (r#"[["a",1],["b"]]"#, "Column1  Column2\n-------  -------\na        1\nb\n", "a\t1\nb\n"),
            (r#"["a\tb",2]"#, "Result\n------\na b\n2\n", "a\\tb\n2\n"),
            (r#"[["a"],"b"]"#, "Column1\n-------\na\nb\n", "a\nb\n"),
            // Single values.
            (r#""a\tb\\""#, "Result\n------\na b\\\n", "a\tb\\"),
            ("false", "Result\n------\nfalse\n", "false"),
            ("[]", "", ""),
            ("null", "", ""),
        ] {
            let selection = selection(json);
            assert_eq!(selection.in_format(Format::Table, false), table, "{json}");
            assert_eq!(selection.in_format(Format::Tsv, false), tsv, "{json}");
        }
    }

    #[test]
    fn text_is_for_people() {
        for (json, text) in [
            (r#"{"a":1,"z":"0001-01-01T00:00:00Z"}"#, "z  never\na  1\n"),
            (r#"{"primaryKey":"c2VjcmV0"}"#, "primaryKey  (hidden, see --show-keys)\n"),
            (r#"["a","b"]"#, "a\nb\n"),
            (r#"[{"a":1,"z":"b"}]"#, "Z  A\n-  -\nb  1\n"),
            ("[]", "none\n"),
            ("1.50", "1.5"),
        ] {
            assert_eq!(selection(json).in_format(Format::Text, false), text, "{json}");
        }
        assert_eq!(selection(r#"{"primaryKey":"k"}"#).in_format(Format::Text, true), "primaryKey  k\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        for hostile in super::super::visible::HOSTILE {
            let (name, value) = (serde_json::json!(hostile), serde_json::json!([hostile, { *hostile: hostile }]));
            for json in [format!("[{{{name}:{name}}}]"), value.to_string(), format!("{{{name}:{name}}}")] {
                for format in [Format::Text, Format::Table, Format::Tsv] {
                    let text = super::super::shown(&selection(&json).in_format(format, true));
                    assert!(super::super::visible::is_visible(&text), "{format:?}: {text:?}");
                }
            }
        }
    }
}
