//! Answers page by page: which one is asked for, and how much fits on it.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use hubward_proto::service::http::{CONTINUATION, ITEM_TYPE, MAX_ITEM_COUNT};
use hyper::header::HeaderMap;
use serde::Serialize;

/// Which page is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Most things on it.
    pub(super) most: usize,
    /// What the page before gave to [`Sheet::finish`]; `None` asks for the first page.
    pub(super) after: Option<String>,
    /// In which order the things are; `None` is their own.
    pub(super) order: Option<Rng>,
}

impl Wanted {
    /// Reads the headers.
    ///
    /// Source: `[doc]` azure-rest-api-specs, query routes; `[seen]` Azure/azure-iot-sdk-node, issue 813, and
    /// Azure/azure-iot-sdk-java, pull request 1279: 100 unless the request says otherwise. A page of 1,000 at
    /// most is a `[guess]`: the sources say 1,000 and 10,000.
    ///
    /// # Errors
    /// What is wrong with which header.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, &'static str> {
        let text = |name: &str| headers.get(name).map(|it| it.to_str().unwrap_or("*")).filter(|it| !it.is_empty());
        let most = match text(MAX_ITEM_COUNT).map(str::parse::<usize>) {
            None => USUAL,
            Some(Ok(most @ 1..)) => most.min(MOST),
            Some(_) => return Err("x-ms-max-item-count must be a number above 0."),
        };
        let after = match text(CONTINUATION) {
            None => None,
            Some(text) => {
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| FOREIGN)?;
                Some(String::from_utf8(bytes).map_err(|_| FOREIGN)?)
            }
        };
        Ok(Self { most, after, order: None })
    }
}

/// A continuation that the asked query has never given.
///
/// Source: `[seen]` Azure/Industrial-IoT, issue 522: it needs the same query and page size. Another page size is
/// taken here.
pub(super) const FOREIGN: &str = "x-ms-continuation is none that this query has given.";

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Sheet {
    body: Vec<u8>,
    /// Where each thing begins and ends in the body.
    places: Vec<Range<usize>>,
    most: usize,
}

impl Sheet {
    pub(super) fn new(most: usize) -> Self {
        Self { body: b"[".to_vec(), places: Vec::new(), most }
    }

    /// Whether nothing more fits. The first thing always does.
    pub(super) const fn is_full(&self) -> bool {
        self.places.len() >= self.most || (!self.places.is_empty() && self.body.len() >= PAGE_BYTES)
    }

    pub(super) fn push(&mut self, it: &impl Serialize) {
        if !self.places.is_empty() {
            self.body.push(b',');
        }
        let start = self.body.len();
        serde_json::to_writer(&mut self.body, it).expect("the models of the service always serialize");
        self.places.push(start..self.body.len());
    }

    /// Puts the things into this order, if one is given.
    pub(super) fn shuffle(&mut self, order: Option<Rng>) {
        let Some(mut order) = order else { return };
        order.shuffle(&mut self.places);
        let things: Vec<&[u8]> = self.places.iter().map(|it| &self.body[it.clone()]).collect();
        self.body = [b"[", things.join(&b',').as_slice()].concat();
    }

    /// The body, and the headers that go with it. `after` says where the next page begins, if there
    /// is one.
    pub(super) fn finish(mut self, item_type: &str, after: Option<&str>) -> (Vec<u8>, Vec<(&'static str, String)>) {
        self.body.push(b']');
        let mut headers = vec![(ITEM_TYPE, item_type.to_owned()), (MAX_ITEM_COUNT, self.most.to_string())];
        headers.extend(after.map(|it| (CONTINUATION, URL_SAFE_NO_PAD.encode(it))));
        (self.body, headers)
    }
}

/// Most things on a page.
const MOST: usize = 1000;

/// Things on a page whose request does not say how many.
const USUAL: usize = 100;

/// A page that is as large as this gets nothing more.
const PAGE_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn wanted(most: &'static str, after: &str) -> Result<Wanted, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(MAX_ITEM_COUNT, HeaderValue::from_static(most));
        headers.insert(CONTINUATION, HeaderValue::from_str(after).expect("a value"));
        Wanted::read(&headers)
    }

    #[test]
    fn reads_how_much_is_wanted_and_from_where() {
        assert_eq!(Wanted::read(&HeaderMap::new()), Ok(Wanted { most: 100, after: None, order: None }));
        assert_eq!(wanted("2", "eA"), Ok(Wanted { most: 2, after: Some("x".into()), order: None }));
        assert_eq!(wanted("5000", ""), Ok(Wanted { most: MOST, after: None, order: None }));
        for (most, after) in [("0", ""), ("-1", ""), ("x", ""), ("", "*"), ("", "_w")] {
            assert!(wanted(most, after).is_err(), "{most} {after}");
        }
    }

    #[test]
    fn a_page_is_bounded_by_number_and_size() {
        let mut sheet = Sheet::new(2);
        sheet.push(&"a");
        assert!(!sheet.is_full());
        sheet.push(&"b");
        assert!(sheet.is_full());
        let (body, headers) = sheet.finish("thing", Some("b"));
        assert_eq!(body, br#"["a","b"]"#);
        let expected = [(ITEM_TYPE, "thing"), (MAX_ITEM_COUNT, "2"), (CONTINUATION, "Yg")];
        assert_eq!(headers, expected.map(|(name, text)| (name, text.to_owned())));
        let mut sheet = Sheet::new(10);
        (0..10).for_each(|it| sheet.push(&it));
        sheet.shuffle(Some(Rng::with_seed(7)));
        let (body, _) = sheet.finish("thing", None);
        assert_ne!(body, b"[0,1,2,3,4,5,6,7,8,9]");
        let mut numbers: Vec<u8> = serde_json::from_slice(&body).expect("JSON");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        let mut sheet = Sheet::new(1000);
        sheet.push(&"x".repeat(PAGE_BYTES));
        assert!(sheet.is_full());
        let (_, headers) = sheet.finish("thing", None);
        assert_eq!(headers.len(), 2);
    }
}
