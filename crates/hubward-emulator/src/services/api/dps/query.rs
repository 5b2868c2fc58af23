//! Queries for enrollments, groups and registrations, with pages.

use std::ops::Bound;

use fastrand::Rng;
use http::header::HeaderMap;
use hubward_proto::service::QuerySpecification;
use serde::Serialize;

use super::super::page::{PageBody, PageRequest, WRONG_CONTINUATION};
use super::{ApiResponse, kind};
use crate::services::dps::{DpsResponse, Refusal};
use crate::state::model::Table;

/// The requested page of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    item_type: &'static str,
    most: usize,
    /// Key of the last object on the previous page.
    after: Option<String>,
    /// The random generator that decides the order of the objects. With `None`, the objects are in the order of their
    /// keys.
    order: Option<Rng>,
}

impl Page {
    /// Parses the headers.
    pub(super) fn read(headers: &HeaderMap, item_type: &'static str, order: Option<Rng>) -> Result<Self, Refusal> {
        let wrong = |message| Refusal::generic(400, message);
        let PageRequest { most, after, .. } = PageRequest::read(headers).map_err(wrong)?;
        let key = |mark: String| match mark.split_once(' ') {
            Some((kind, key)) if kind == item_type => Ok(key.to_owned()),
            _ => Err(wrong(WRONG_CONTINUATION)),
        };
        Ok(Self { item_type, most, after: after.map(key).transpose()?, order })
    }

    /// Builds the page from the objects in `all`. `show` returns the response for an object, or `None` if the object
    /// does not match.
    pub(super) fn of<T, S: Serialize>(&self, all: &Table<T>, show: impl Fn(&T) -> Option<S>) -> ApiResponse {
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = all.range::<str, _>((from, Bound::Unbounded)).filter_map(|(key, it)| Some((key, show(it)?)));
        let (mut page, mut last) = (PageBody::new(self.most), None);
        while !page.is_full() {
            let Some((key, it)) = rest.next() else { break };
            page.push(&it);
            last = Some(key);
        }
        let after = last.filter(|_| rest.next().is_some()).map(|it| format!("{} {it}", self.item_type));
        page.shuffle(self.order.clone());
        let (body, headers) = page.finish(self.item_type, after.as_deref());
        ApiResponse { answer: DpsResponse { body, ..DpsResponse::json(200, &()) }, headers }
    }
}

/// Accepts a query for all objects, and refuses every other query.
///
/// Some sources say that the real service ignores the text of a query. The emulator refuses a text that it does not
/// support, so that a caller does not believe that the emulator has filtered the response.
///
/// Source: `[sdk]` azure-iot-cli-extension sends `SELECT *`, azure-iot-sdk-java sends the same in lower case.
pub(super) fn check(body: &[u8], table: &str) -> Result<(), Refusal> {
    let QuerySpecification { query } = kind::read(body)?;
    let tokens: Vec<String> = query.split_whitespace().map(str::to_ascii_lowercase).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    match tokens.as_slice() {
        [] | ["select", "*"] => Ok(()),
        ["select", "*", "from", name, rest @ ..] => {
            if !name.eq_ignore_ascii_case(table) {
                return Err(Refusal::generic(400, format!("The query at this path must be for {table}.")));
            }
            if rest.is_empty() { Ok(()) } else { not_emulated() }
        }
        ["select", _, ..] => not_emulated(),
        _ => Err(Refusal::generic(400, "The query must begin with SELECT.")),
    }
}

fn not_emulated() -> Result<(), Refusal> {
    let message =
        "The emulator does not emulate this query. It supports SELECT *, with or without FROM, and no conditions.";
    Err(Refusal::generic(501, message))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;
    use hubward_proto::service::http::{CONTINUATION, MAX_ITEM_COUNT};

    use super::*;

    #[test]
    fn accepts_queries_for_everything_only() {
        for (query, status) in [
            ("SELECT *", 200),
            ("", 200),
            (" ", 200),
            ("SELECT * FROM enrollments", 200),
            ("  select\t*  from Enrollments ", 200),
            ("SELECT * FROM enrollmentGroups", 400),
            ("SELECT * FROM enrollments WHERE provisioningStatus = 'enabled'", 501),
            ("SELECT COUNT() FROM enrollments", 501),
            ("SELECT", 400),
            ("DELETE * FROM enrollments", 400),
        ] {
            let body = serde_json::json!({ "query": query }).to_string();
            let got = check(body.as_bytes(), "enrollments").map_or_else(|it| it.status, |()| 200);
            assert_eq!(got, status, "{query}");
        }
        assert!(check(b"{}", "enrollments").is_err());
    }

    fn page(most: &'static str, after: &str) -> Result<Page, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(MAX_ITEM_COUNT, HeaderValue::from_static(most));
        headers.insert(CONTINUATION, HeaderValue::from_str(after).expect("a value"));
        Page::read(&headers, "enrollment", None)
    }

    #[test]
    fn a_page_continues_after_the_previous_one() {
        let many: Table<String> = (0..5).map(|it| (it.to_string(), format!("v{it}"))).collect();
        let even = |it: &String| (!it.ends_with('1')).then(|| it.clone());
        let ApiResponse { answer, headers } = page("2", "").expect("valid").of(&many, even);
        assert_eq!(answer.body, br#"["v0","v2"]"#);
        let after = headers.iter().find(|(name, _)| *name == CONTINUATION).expect("more").1.clone();
        let ApiResponse { answer, headers } = page("5000", &after).expect("valid").of(&many, even);
        assert_eq!(answer.body, br#"["v3","v4"]"#);
        let expected = [("x-ms-item-type", "enrollment".to_owned()), (MAX_ITEM_COUNT, "1000".to_owned())];
        assert_eq!(headers, expected);
        for (most, after) in [("0", ""), ("-1", ""), ("x", ""), ("", "*"), ("", "eA"), ("", "Z3JvdXAgMQ")] {
            assert_eq!(page(most, after).map_err(|it| it.status), Err(400), "{most} {after}");
        }
    }
}
