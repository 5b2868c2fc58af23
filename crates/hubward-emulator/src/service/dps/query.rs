//! Questions for many things, answered page by page.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubward_proto::service::QuerySpecification;
use hyper::header::HeaderMap;
use serde::Serialize;

use super::{Done, kind};
use crate::dps::{Answer, Refusal};
use crate::store::Table;

/// Which page of an answer, and of what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    item_type: &'static str,
    most: usize,
    /// Key of the last thing on the page before.
    after: Option<String>,
}

impl Page {
    /// Reads the headers.
    ///
    /// Source: `[doc]` azure-rest-api-specs, query routes. A page of 1,000 at most is a `[guess]`: the
    /// sources say 1,000 and 10,000.
    pub(super) fn read(headers: &HeaderMap, item_type: &'static str) -> Result<Self, Refusal> {
        let text = |name: &str| headers.get(name).map(|it| it.to_str().unwrap_or_default());
        let most = match text(MAX_ITEM_COUNT).filter(|it| !it.is_empty()) {
            None => MOST,
            Some(text) => match text.parse::<usize>() {
                Ok(most @ 1..) => most.min(MOST),
                _ => return Err(Refusal::generic(400, "x-ms-max-item-count must be a number above 0.")),
            },
        };
        let after = match text(CONTINUATION).filter(|it| !it.is_empty()) {
            None => None,
            Some(text) => {
                let wrong = || Refusal::generic(400, "x-ms-continuation is none that this query has given.");
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
                let text = String::from_utf8(bytes).map_err(|_| wrong())?;
                let (kind, key) = text.split_once(' ').ok_or_else(wrong)?;
                Some((kind == item_type).then(|| key.to_owned()).ok_or_else(wrong)?)
            }
        };
        Ok(Self { item_type, most, after })
    }

    /// The page of these things; `show` leaves out what is not asked for.
    pub(super) fn of<T, S: Serialize>(&self, all: &Table<T>, show: impl Fn(&T) -> Option<S>) -> Done {
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest =
            all.range::<str, _>((from, Bound::Unbounded)).filter_map(|(key, it)| Some((key, show(it)?))).peekable();
        let (mut body, mut count, mut last) = (b"[".to_vec(), 0, None);
        while count < self.most && (count == 0 || body.len() < PAGE_BYTES) {
            let Some((key, it)) = rest.next() else { break };
            if count > 0 {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, &it).expect("the models of the service always serialize");
            (count, last) = (count + 1, Some(key));
        }
        body.push(b']');
        let mut headers = vec![("x-ms-item-type", self.item_type.to_owned()), (MAX_ITEM_COUNT, self.most.to_string())];
        if let (Some(last), true) = (last, rest.peek().is_some()) {
            headers.push((CONTINUATION, URL_SAFE_NO_PAD.encode(format!("{} {last}", self.item_type))));
        }
        Done { answer: Answer { body, ..Answer::json(200, &()) }, headers }
    }
}

/// Accepts a question for everything, and no other.
///
/// Source: `[sdk]` azure-iot-cli-extension asks `SELECT *`, azure-iot-sdk-java with lower-case words.
pub(super) fn check(body: &[u8], table: &str) -> Result<(), Refusal> {
    let QuerySpecification { query } = kind::read(body)?;
    let words: Vec<String> = query.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["select", "*"] => Ok(()),
        ["select", "*", "from", name, rest @ ..] => {
            if !name.eq_ignore_ascii_case(table) {
                return Err(Refusal::generic(400, format!("The query must be of {table} at this path.")));
            }
            if rest.is_empty() { Ok(()) } else { not_emulated() }
        }
        ["select", _, ..] => not_emulated(),
        _ => Err(Refusal::generic(400, "The query must begin with SELECT.")),
    }
}

fn not_emulated() -> Result<(), Refusal> {
    let message = "The emulator does not emulate this query. It has SELECT *, with FROM or without, and no conditions.";
    Err(Refusal::generic(501, message))
}

const MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
const CONTINUATION: &str = "x-ms-continuation";

/// Most things on a page.
const MOST: usize = 1000;

/// A page that is as large as this gets nothing more.
const PAGE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn asks_for_everything_only() {
        for (query, status) in [
            ("SELECT *", 200),
            ("SELECT * FROM enrollments", 200),
            ("  select\t*  from Enrollments ", 200),
            ("SELECT * FROM enrollmentGroups", 400),
            ("SELECT * FROM enrollments WHERE provisioningStatus = 'enabled'", 501),
            ("SELECT COUNT() FROM enrollments", 501),
            ("SELECT", 400),
            ("DELETE * FROM enrollments", 400),
            ("", 400),
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
        Page::read(&headers, "enrollment")
    }

    #[test]
    fn pages_are_bounded_by_number_and_size() {
        let many: Table<String> = (0..5).map(|it| (it.to_string(), format!("v{it}"))).collect();
        let even = |it: &String| (!it.ends_with('1')).then(|| it.clone());
        let Done { answer, headers } = page("2", "").expect("valid").of(&many, even);
        assert_eq!(answer.body, br#"["v0","v2"]"#);
        let after = headers.iter().find(|(name, _)| *name == CONTINUATION).expect("more").1.clone();
        let Done { answer, headers } = page("5000", &after).expect("valid").of(&many, even);
        assert_eq!(answer.body, br#"["v3","v4"]"#);
        let expected = [("x-ms-item-type", "enrollment".to_owned()), (MAX_ITEM_COUNT, "1000".to_owned())];
        assert_eq!(headers, expected);
        let large: Table<String> = (0..5).map(|it| (it.to_string(), "x".repeat(PAGE_BYTES / 2))).collect();
        let Done { answer, headers } = page("", "").expect("valid").of(&large, |it| Some(it.clone()));
        assert!(answer.body.len() < 2 * PAGE_BYTES && headers.len() == 3, "{}", answer.body.len());
        for (most, after) in [("0", ""), ("-1", ""), ("x", ""), ("", "*"), ("", "eA"), ("", "Z3JvdXAgMQ")] {
            assert_eq!(page(most, after).map_err(|it| it.status), Err(400), "{most} {after}");
        }
    }
}
