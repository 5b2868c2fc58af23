//! Entry points for the fuzz targets of the service APIs.

use http::header::{HeaderMap, HeaderValue, IF_MATCH};
use hubward_proto::service::http::{CONTINUATION, MAX_ITEM_COUNT};
use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment};
use serde::de::DeserializeOwned;

use super::if_match::IfMatch;
use super::page::{PageBody, PageRequest};
use crate::state::clock::system_now;
use crate::state::model::{Model, complete};

/// Parses and checks an enrollment or a group as `PUT` does. Returns whether it is valid.
#[must_use]
pub fn enrollment(bytes: &[u8]) -> bool {
    kept::<IndividualEnrollment>(bytes) | kept::<EnrollmentGroup>(bytes)
}

fn kept<M: Model + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(model) = serde_json::from_slice::<M>(bytes) else { return false };
    complete(model, None, system_now()).is_ok()
}

/// Parses `If-Match` and the page headers. Returns whether all of them are valid.
///
/// Asserts two properties. First, a parsed ETag matches itself. Second, if the continuation of a page is written to a
/// header and parsed again, its value is the same.
#[must_use]
pub fn headers(if_match: &[u8], most: &[u8], continuation: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for (name, bytes) in [(IF_MATCH.as_str(), if_match), (MAX_ITEM_COUNT, most), (CONTINUATION, continuation)] {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return false };
        headers.insert(name.parse::<http::header::HeaderName>().expect("a name"), value);
    }
    let if_match = IfMatch::read(&headers);
    if let Ok(IfMatch::Etag(etag)) = &if_match {
        let again = IfMatch::parse(&format!("\"{etag}\""));
        assert!(again.fits(Some(etag)) && again.fits(Some(&format!("\"{etag}\""))), "{etag}");
    }
    let Ok(wanted) = PageRequest::read(&headers) else { return false };
    assert!((1..=1000).contains(&wanted.most), "{wanted:?}");
    if let Some(after) = &wanted.after {
        let (_, given) = PageBody::new(1).finish("thing", Some(after));
        let (_, mark) = given.into_iter().find(|(name, _)| *name == CONTINUATION).expect("a mark");
        let mut next = HeaderMap::new();
        next.insert(CONTINUATION, mark.parse().expect("a header"));
        assert_eq!(PageRequest::read(&next).expect("our own").after.as_ref(), wanted.after.as_ref());
    }
    if_match.is_ok()
}
