//! Pages of a response: the requested page and its size limits.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use http::header::HeaderMap;
use hubward_proto::service::http::{CONTINUATION, ITEM_TYPE, MAX_ITEM_COUNT};
use serde::Serialize;

/// The error for a continuation that belongs to another query.
///
/// Source: `[seen]` Azure/Industrial-IoT, issue 522: a continuation needs the same query and the same page size. The
/// emulator also accepts a continuation with another page size.
pub(super) const WRONG_CONTINUATION: &str = "x-ms-continuation does not belong to this query.";

/// Maximum number of objects on a page.
const MAX: usize = 1000;

/// Default number of objects on a page.
const USUAL: usize = 100;

/// A page that reaches this size in bytes is full.
const PAGE_BYTES: usize = 1024 * 1024;

/// The requested page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageRequest {
    /// Maximum number of objects on the page.
    pub(super) most: usize,
    /// The continuation that the previous page returned: the `after` that was passed to [`PageBody::finish`]. `None`
    /// requests the first page.
    pub(super) after: Option<String>,
    /// The random generator that decides the order of the objects. With `None`, the objects are in the order of their
    /// keys.
    pub(super) order: Option<Rng>,
}

impl PageRequest {
    /// Parses the headers.
    ///
    /// Source: `[doc]` azure-rest-api-specs, query routes; `[seen]` Azure/azure-iot-sdk-node, issue 813, and
    /// Azure/azure-iot-sdk-java, pull request 1279: 100 objects by default.
    ///
    /// `[guess]`: at most 1,000 objects. Some sources say 1,000, others 10,000.
    ///
    /// # Errors
    /// The invalid header and the reason.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, &'static str> {
        let text = |name: &str| headers.get(name).map(|it| it.to_str().unwrap_or("*")).filter(|it| !it.is_empty());
        let most = match text(MAX_ITEM_COUNT).map(str::parse::<usize>) {
            None => USUAL,
            Some(Ok(most @ 1..)) => most.min(MAX),
            Some(_) => return Err("x-ms-max-item-count must be a number above 0."),
        };
        let after = match text(CONTINUATION) {
            None => None,
            Some(text) => {
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| WRONG_CONTINUATION)?;
                Some(String::from_utf8(bytes).map_err(|_| WRONG_CONTINUATION)?)
            }
        };
        Ok(Self { most, after, order: None })
    }
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct PageBody {
    body: Vec<u8>,
    /// The range of each object in the body.
    places: Vec<Range<usize>>,
    most: usize,
}

impl PageBody {
    pub(super) fn new(most: usize) -> Self {
        Self { body: b"[".to_vec(), places: Vec::new(), most }
    }

    /// Whether the page is full. The first object always fits.
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

    /// Shuffles the objects with the generator `order`. If `order` is `None`, does nothing.
    pub(super) fn shuffle(&mut self, order: Option<Rng>) {
        let Some(mut order) = order else { return };
        order.shuffle(&mut self.places);
        let things: Vec<&[u8]> = self.places.iter().map(|it| &self.body[it.clone()]).collect();
        self.body = [b"[", things.join(&b',').as_slice()].concat();
    }

    /// Returns the body of the page and its headers. `after` is the start of the next page; `None` means that this
    /// page is the last.
    pub(super) fn finish(mut self, item_type: &str, after: Option<&str>) -> (Vec<u8>, Vec<(&'static str, String)>) {
        self.body.push(b']');
        let mut headers = vec![(ITEM_TYPE, item_type.to_owned()), (MAX_ITEM_COUNT, self.most.to_string())];
        headers.extend(after.map(|it| (CONTINUATION, URL_SAFE_NO_PAD.encode(it))));
        (self.body, headers)
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn wanted(most: &'static str, after: &str) -> Result<PageRequest, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(MAX_ITEM_COUNT, HeaderValue::from_static(most));
        headers.insert(CONTINUATION, HeaderValue::from_str(after).expect("a value"));
        PageRequest::read(&headers)
    }

    #[test]
    fn parses_the_page_size_and_the_continuation() {
        assert_eq!(PageRequest::read(&HeaderMap::new()), Ok(PageRequest { most: 100, after: None, order: None }));
        assert_eq!(wanted("2", "eA"), Ok(PageRequest { most: 2, after: Some("x".into()), order: None }));
        assert_eq!(wanted("5000", ""), Ok(PageRequest { most: MAX, after: None, order: None }));
        for (most, after) in [("0", ""), ("-1", ""), ("x", ""), ("", "*"), ("", "_w")] {
            assert!(wanted(most, after).is_err(), "{most} {after}");
        }
    }

    #[test]
    fn a_page_is_bounded_by_number_and_size() {
        let mut page = PageBody::new(2);
        page.push(&"a");
        assert!(!page.is_full());
        page.push(&"b");
        assert!(page.is_full());
        let (body, headers) = page.finish("thing", Some("b"));
        assert_eq!(body, br#"["a","b"]"#);
        let expected = [(ITEM_TYPE, "thing"), (MAX_ITEM_COUNT, "2"), (CONTINUATION, "Yg")];
        assert_eq!(headers, expected.map(|(name, text)| (name, text.to_owned())));
        let mut page = PageBody::new(10);
        (0..10).for_each(|it| page.push(&it));
        page.shuffle(Some(Rng::with_seed(7)));
        let (body, _) = page.finish("thing", None);
        assert_ne!(body, b"[0,1,2,3,4,5,6,7,8,9]");
        let mut numbers: Vec<u8> = serde_json::from_slice(&body).expect("JSON");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        let mut page = PageBody::new(1000);
        page.push(&"x".repeat(PAGE_BYTES));
        assert!(page.is_full());
        let (_, headers) = page.finish("thing", None);
        assert_eq!(headers.len(), 2);
    }
}
