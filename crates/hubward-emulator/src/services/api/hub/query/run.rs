//! Runs a query and returns its rows page by page.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::eval::{fits, member, number, order};
use super::tree::{Aggregate, Collection, Column, Expression, Path, Query, Select, What};
use crate::services::api::page::{PageBody, PageRequest, WRONG_CONTINUATION};

/// Keys with more bytes are shortened.
const SHORT: usize = 128;

/// Body and headers of a response.
pub(super) type Page = (Vec<u8>, Vec<(&'static str, String)>);

/// Some documents, in the order of their keys.
pub(super) struct Batch {
    pub(super) documents: Vec<(String, Value)>,
    /// The key of the last identity that was read; the next batch begins after it. `None` if this is the last batch.
    ///
    /// `documents` may not contain this identity, because some identities have no matching document.
    pub(super) last: Option<String>,
}

impl Query {
    pub(super) const fn from(&self) -> Collection {
        self.from
    }

    /// The item type of a response.
    ///
    /// Source: `[sdk]` azure-iot-sdk-csharp, Query/QueryResult.cs; `[seen]` recordings of azure-sdk-for-net.
    const fn item_type(&self) -> &'static str {
        match self.select {
            Select::Everything => "Twin",
            Select::Columns(_) => "Raw",
        }
    }

    /// Whether several documents form one row.
    fn is_grouped(&self) -> bool {
        let aggregates = match &self.select {
            Select::Everything => false,
            Select::Columns(columns) => columns.iter().any(|it| !matches!(it.what, What::Member(_))),
        };
        aggregates || self.group.is_some()
    }

    /// Fills a page. `batch` returns the next documents after a key.
    ///
    /// The state may change between two batches. Each page begins after the last key of the previous page. No document
    /// is therefore returned twice, and no document that exists during the whole query is omitted.
    pub(super) async fn run<F>(
        &self,
        text: &str,
        wanted: &PageRequest,
        mut batch: impl FnMut(Option<String>) -> F,
    ) -> Result<Page, &'static str>
    where
        F: Future<Output = Batch>,
    {
        let mark = Mark::read(self, text, wanted.after.as_deref())?;
        let mut rows = Rows { page: PageBody::new(wanted.most), left: mark.left, last: None, more: false };
        if self.is_grouped() {
            let mut groups = Groups::new(self);
            let mut after = None;
            loop {
                let Batch { documents, last } = batch(after).await;
                documents.iter().filter(|(_, it)| self.takes(it)).for_each(|(_, it)| groups.add(it));
                if last.is_none() {
                    break;
                }
                after = last;
            }
            for (key, row) in groups.rows() {
                if mark.after.as_ref().is_none_or(|after| key > *after) && !rows.add(key, &row) {
                    break;
                }
            }
        } else {
            let mut after = mark.after;
            'pages: loop {
                let Batch { documents, last } = batch(after).await;
                for (key, document) in documents {
                    if self.takes(&document) && !rows.add(key, &self.row(document)) {
                        break 'pages;
                    }
                }
                if last.is_none() {
                    break;
                }
                after = last;
            }
        }
        let next = rows.last.filter(|_| rows.more).map(|last| Mark { left: rows.left, after: Some(last) }.write(text));
        rows.page.shuffle(wanted.order.clone());
        Ok(rows.page.finish(self.item_type(), next.as_deref()))
    }

    /// The row of a single document, if it matches.
    pub(super) fn shows(&self, document: &Value) -> Option<Value> {
        if !self.takes(document) {
            return None;
        }
        if !self.is_grouped() {
            return Some(self.row(document.clone()));
        }
        let mut groups = Groups::new(self);
        groups.add(document);
        groups.rows().next().map(|(_, row)| row)
    }

    fn takes(&self, document: &Value) -> bool {
        self.condition.as_ref().is_none_or(|it: &Expression| fits(it, document))
    }

    fn row(&self, document: Value) -> Value {
        let Select::Columns(columns) = &self.select else { return document };
        let mut row = Map::new();
        for Column { name, what } in columns {
            if let What::Member(path) = what
                && let Some(value) = member(&document, path)
            {
                row.insert(name.clone(), value.clone());
            }
        }
        Value::Object(row)
    }
}

/// The rows of a page.
struct Rows {
    page: PageBody,
    /// Rows that `TOP` still allows.
    left: Option<u64>,
    last: Option<String>,
    /// Whether another page follows.
    more: bool,
}

impl Rows {
    /// Adds a row. Returns `false` if the page is full.
    fn add(&mut self, key: String, row: &Value) -> bool {
        if self.left == Some(0) {
            return false;
        }
        if self.page.is_full() {
            self.more = true;
            return false;
        }
        self.page.push(row);
        self.left = self.left.map(|it| it - 1);
        self.last = Some(key);
        true
    }
}

/// The start of a page.
struct Mark {
    /// Rows that `TOP` still allows.
    left: Option<u64>,
    after: Option<String>,
}

impl Mark {
    fn read(query: &Query, text: &str, continuation: Option<&str>) -> Result<Self, &'static str> {
        let Some(continuation) = continuation else { return Ok(Self { left: query.top, after: None }) };
        let mut parts = continuation.splitn(3, ' ');
        let (Some(hash), Some(left), Some(after)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(WRONG_CONTINUATION);
        };
        let left = match (query.top, left) {
            (None, "") => None,
            (Some(top), left) => Some(left.parse().ok().filter(|it| *it <= top).ok_or(WRONG_CONTINUATION)?),
            (None, _) => return Err(WRONG_CONTINUATION),
        };
        if hash != digest(text) {
            return Err(WRONG_CONTINUATION);
        }
        Ok(Self { left, after: Some(after.to_owned()) })
    }

    fn write(&self, text: &str) -> String {
        let left = self.left.map(|it| it.to_string()).unwrap_or_default();
        format!("{} {left} {}", digest(text), self.after.as_deref().unwrap_or_default())
    }
}

/// Returns a digest of the text of a query. Each continuation contains the digest of its query. If a client sends a
/// continuation with another query, the emulator refuses the continuation.
fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref()[..6].iter().map(|it| format!("{it:02x}")).collect()
}

/// Groups of documents; each group forms one row.
struct Groups<'a> {
    by: Option<&'a Path>,
    columns: &'a [Column],
    groups: BTreeMap<String, Group>,
}

/// Documents that form one row.
struct Group {
    /// The value of the property after GROUP BY. All documents of the group have this value. `None` if the property is
    /// undefined.
    common: Option<Value>,
    /// One aggregate for each column.
    sums: Vec<Sum>,
}

impl Group {
    fn new(common: Option<&Value>, columns: &[Column]) -> Self {
        Self { common: common.cloned(), sums: columns.iter().map(|_| Sum::default()).collect() }
    }
}

/// Returns the sort key of a group. The key is short, because the continuation header contains it.
fn short(common: Option<&Value>) -> String {
    let mut key = common.map(Value::to_string).unwrap_or_default();
    if key.len() > SHORT {
        let whole = digest(&key);
        key.truncate((0..=SHORT).rev().find(|it| key.is_char_boundary(*it)).unwrap_or_default());
        key.push_str(&whole);
    }
    key
}

impl<'a> Groups<'a> {
    fn new(query: &'a Query) -> Self {
        let columns = match &query.select {
            Select::Everything => &[],
            Select::Columns(columns) => columns.as_slice(),
        };
        let mut groups = BTreeMap::new();
        if query.group.is_none() {
            // Without GROUP BY, the result has one row, even if no document matches.
            groups.insert(String::new(), Group::new(None, columns));
        }
        Self { by: query.group.as_ref(), columns, groups }
    }

    fn add(&mut self, document: &Value) {
        let common = self.by.and_then(|it| member(document, it));
        let group = self.groups.entry(short(common)).or_insert_with(|| Group::new(common, self.columns));
        for (sum, column) in group.sums.iter_mut().zip(self.columns) {
            sum.count += 1;
            if let What::Of(aggregate, path) = &column.what
                && let Some(value) = member(document, path)
            {
                sum.add(*aggregate, value);
            }
        }
    }

    fn rows(self) -> impl Iterator<Item = (String, Value)> {
        self.groups.into_iter().map(|(key, group)| {
            let mut row = Map::new();
            for (column, sum) in self.columns.iter().zip(group.sums) {
                let value = match &column.what {
                    What::Member(_) => group.common.clone(),
                    What::Count => Some(Value::from(sum.count)),
                    What::Of(aggregate, _) => sum.value(*aggregate),
                };
                row.extend(value.map(|it| (column.name.clone(), it)));
            }
            (key, Value::Object(row))
        })
    }
}

/// The state of one aggregate. Values of other types are ignored.
#[derive(Default)]
struct Sum {
    count: u64,
    numbers: u64,
    sum: f64,
    /// The minimum or maximum so far.
    extreme: Option<Value>,
}

impl Sum {
    fn add(&mut self, aggregate: Aggregate, value: &Value) {
        let wanted = match aggregate {
            Aggregate::Sum | Aggregate::Average => {
                if let Some(number) = value.as_f64() {
                    self.numbers += 1;
                    self.sum += number;
                }
                return;
            }
            Aggregate::Least => Ordering::Less,
            Aggregate::Most => Ordering::Greater,
        };
        let better = match &self.extreme {
            None => value.is_number() || value.is_string(),
            Some(extreme) => order(value, extreme) == Some(wanted),
        };
        if better {
            self.extreme = Some(value.clone());
        }
    }

    /// The result; `None` means that the row omits the column.
    fn value(self, aggregate: Aggregate) -> Option<Value> {
        match aggregate {
            Aggregate::Sum => number(self.sum).map(std::borrow::Cow::into_owned),
            #[expect(clippy::cast_precision_loss, reason = "there are fewer devices than 2^53")]
            Aggregate::Average => number(self.sum / self.numbers as f64).map(std::borrow::Cow::into_owned),
            Aggregate::Least | Aggregate::Most => self.extreme,
        }
    }
}
