//! Rows and columns, for people (`table`) and for scripts (`tsv`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::never::time_or_never;
use super::visible::{escaped, visible};

/// A column: its title, and the JSON pointer of the member that it shows.
pub(crate) type Column = (&'static str, &'static str);

/// Titles, and rows with one cell for each title.
#[derive(Debug, Default)]
pub(crate) struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a row for each record.
    pub(super) fn of(records: &[Value], columns: &[Column]) -> Self {
        let row = |record: &Value| columns.iter().map(|(_, path)| cell(record.pointer(path))).collect();
        Self {
            titles: columns.iter().map(|(title, _)| (*title).to_owned()).collect(),
            rows: records.iter().map(row).collect(),
        }
    }

    /// Creates a table with a row for each record. Each member name of the records gets a column, in alphabetical
    /// order.
    pub(super) fn of_any(records: &[Value]) -> Self {
        let names: BTreeSet<&String> = records.iter().filter_map(Value::as_object).flat_map(|it| it.keys()).collect();
        if names.is_empty() {
            let rows: Vec<Vec<String>> = records.iter().map(|it| vec![cell(Some(it))]).collect();
            let titles = if rows.is_empty() { vec![] } else { vec!["Value".to_owned()] };
            return Self { titles, rows };
        }
        let row = |record: &Value| names.iter().map(|it| cell(record.get(it.as_str()))).collect();
        Self { titles: names.iter().map(|it| (*it).clone()).collect(), rows: records.iter().map(row).collect() }
    }

    /// A table with these titles and rows. A row may have fewer cells than there are titles.
    #[cfg(feature = "service")]
    pub(super) const fn new(titles: Vec<String>, rows: Vec<Vec<String>>) -> Self {
        Self { titles, rows }
    }

    /// A table with one cell.
    pub(super) fn single(title: &str, value: &str) -> Self {
        Self { titles: vec![title.to_owned()], rows: vec![vec![value.to_owned()]] }
    }

    /// Returns the titles, a line, and the rows, in aligned columns. Returns an empty text if the table has no rows.
    pub(super) fn aligned(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let shown = |cells: &Vec<String>| cells.iter().map(|it| visible(time_or_never(it))).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(shown).collect();
        let titles: Vec<String> = self.titles.iter().map(|it| visible(it)).collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|it| it.get(column));
            cells.chain(titles.get(column)).map(|it| it.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells.iter().zip(&widths).map(|(it, width)| format!("{it:width$}")).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let rule: Vec<String> = widths.iter().map(|it| "-".repeat(*it)).collect();
        let mut text = line(&titles) + &line(&rule);
        text.extend(rows.iter().map(|it| line(it)));
        text
    }

    /// Like [`aligned`](Self::aligned), but returns `none` if the table has no rows.
    pub(super) fn for_people(&self) -> String {
        if self.rows.is_empty() { "none\n".to_owned() } else { self.aligned() }
    }

    /// Returns the rows without titles. Each row is one line, with a tab between two cells.
    ///
    /// In a cell, `\t` means a tab, `\n` and `\r` mean line ends, and `\\` means a backslash. `\u` with four
    /// hexadecimal digits means a character that controls a terminal.
    pub(super) fn tsv(&self) -> String {
        let row = |cells: &Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|it| escaped(it)).collect();
            cells.join("\t") + "\n"
        };
        self.rows.iter().map(row).collect()
    }
}

/// Returns the text of a cell. A text is unchanged; a list of texts is joined with commas. An absent value and `null`
/// give an empty cell. Any other value is JSON.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[("Id", "/id"), ("Hubs", "/hubs"), ("Site", "/twin/site")];

    fn records() -> Vec<Value> {
        vec![
            json!({"id": "dev-1", "hubs": ["a", "b"], "twin": {"site": "one\ttwo\nthree\\\r"}}),
            json!({"id": "d", "hubs": null, "twin": {"site": {"n": 1}}}),
        ]
    }

    #[test]
    fn a_row_of_tsv_is_always_one_line() {
        let text = Table::of(&records(), COLUMNS).tsv();
        assert_eq!(text, "dev-1\ta,b\tone\\ttwo\\nthree\\\\\\r\nd\t\t{\"n\":1}\n");
    }

    #[test]
    fn a_table_is_aligned_and_contains_no_control_characters() {
        let text = Table::of(&records(), COLUMNS).aligned();
        let expected =
            "Id     Hubs  Site\n-----  ----  ---------------\ndev-1  a,b   one two three\\\nd            {\"n\":1}\n";
        assert_eq!(text, expected);
        assert_eq!(Table::of(&[], COLUMNS).aligned(), "");
        assert_eq!(Table::of(&[], COLUMNS).for_people(), "none\n");
    }

    #[test]
    fn a_table_says_never_and_tsv_keeps_the_time() {
        let record = [json!({"id": "0001-01-01T00:00:00Z"})];
        assert_eq!(Table::of(&record, &[("Id", "/id")]).aligned(), "Id\n-----\nnever\n");
        assert_eq!(Table::of(&record, &[("Id", "/id")]).tsv(), "0001-01-01T00:00:00Z\n");
    }

    #[test]
    fn records_of_any_shape_get_a_column_for_each_name() {
        let rows = [json!({"b": 1, "a": "x"}), json!({"c": true})];
        assert_eq!(Table::of_any(&rows).tsv(), "x\t1\t\n\t\ttrue\n");
        assert_eq!(Table::of_any(&[json!(7)]).aligned(), "Value\n-----\n7\n");
        assert_eq!(Table::of_any(&[]).aligned(), "");
    }
}
