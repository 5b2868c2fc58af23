//! The unanswered twin requests of one connection. Matches each response to its request. Pure.

use std::collections::BTreeMap;

use hubward_transport::Tag;
use tokio::time::Instant;

/// The kinds of twin requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinRequestKind {
    /// Read the whole twin.
    Get,
    /// Change the reported properties.
    PatchReported,
}

/// The unanswered twin requests of one connection; at most one per tag.
#[derive(Debug, Default)]
pub(crate) struct TwinRequests {
    open: BTreeMap<Tag, u64>,
    /// The kind of each open request and the time when it was sent. The key is the number of the request: the value of
    /// `count` when the request was added.
    by_number: BTreeMap<u64, (TwinRequestKind, Instant)>,
    /// Number of requests so far. Makes every request id unique.
    count: u64,
}

impl TwinRequests {
    /// Adds a request and returns its request id.
    ///
    /// Removes an unanswered request under the same tag, because the caller no longer waits for the response to that
    /// request.
    pub(crate) fn add(&mut self, tag: Tag, kind: TwinRequestKind, now: Instant) -> String {
        self.remove(tag);
        self.count += 1;
        self.open.insert(tag, self.count);
        self.by_number.insert(self.count, (kind, now));
        request_id(tag, self.count)
    }

    /// Removes and returns the open request with this request id. Returns `None` if no open request has this id.
    pub(crate) fn take_answered(&mut self, id: &str) -> Option<(Tag, TwinRequestKind)> {
        let (tag, _) = id.split_once('-')?;
        let tag = Tag(tag.parse().ok()?);
        let number = *self.open.get(&tag)?;
        if request_id(tag, number) != id {
            return None;
        }
        self.open.remove(&tag);
        self.by_number.remove(&number).map(|(kind, _)| (tag, kind))
    }

    /// Removes the request under `tag`, if there is one.
    pub(crate) fn remove(&mut self, tag: Tag) {
        if let Some(number) = self.open.remove(&tag) {
            self.by_number.remove(&number);
        }
    }

    pub(crate) fn contains(&self, tag: Tag) -> bool {
        self.open.contains_key(&tag)
    }

    /// Returns when the newest open request was sent.
    pub(crate) fn newest(&self) -> Option<Instant> {
        self.by_number.last_key_value().map(|(_, (_, asked))| *asked)
    }
}

/// Returns the request id of a request. The services accept any text without `&`; the official SDKs send numbers or
/// UUIDs.
///
/// Source: `[doc]` iot/iot-mqtt-connect-to-iot-hub.md, "Retrieve a device twin's properties".
fn request_id(tag: Tag, number: u64) -> String {
    format!("{}-{number}", tag.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    fn tag(id: u16) -> Tag {
        Tag(NonZeroU16::new(id).expect("not zero"))
    }

    #[test]
    fn each_response_matches_its_request_once() {
        let (mut twin_requests, now) = (TwinRequests::default(), Instant::now());
        let later = now + std::time::Duration::from_secs(1);
        assert_eq!(twin_requests.add(tag(40_000), TwinRequestKind::Get, now), "40000-1");
        assert_eq!(twin_requests.add(tag(40_001), TwinRequestKind::PatchReported, later), "40001-2");
        assert_eq!(twin_requests.newest(), Some(later));
        for (id, expected) in [
            ("40001-2", Some((tag(40_001), TwinRequestKind::PatchReported))),
            ("40001-2", None),
            ("40000-2", None),
            ("040000-1", None),
            ("40000-1 ", None),
            ("40000", None),
            ("-1", None),
            ("0-1", None),
            ("99999-1", None),
            ("", None),
            ("é-1", None),
            ("40000-1", Some((tag(40_000), TwinRequestKind::Get))),
        ] {
            assert_eq!(twin_requests.take_answered(id), expected, "{id}");
            assert!(twin_requests.newest() != Some(later), "the newest request is answered");
        }
        assert_eq!(twin_requests.newest(), None);
    }

    #[test]
    fn the_response_to_a_replaced_request_does_not_answer_the_new_request() {
        let (mut twin_requests, now) = (TwinRequests::default(), Instant::now());
        let first = twin_requests.add(tag(9), TwinRequestKind::Get, now);
        let second = twin_requests.add(tag(9), TwinRequestKind::PatchReported, now);
        assert_eq!(twin_requests.take_answered(&first), None);
        assert!(twin_requests.contains(tag(9)));
        assert_eq!(twin_requests.take_answered(&second), Some((tag(9), TwinRequestKind::PatchReported)));
        assert_eq!(twin_requests.newest(), None, "the replaced request is gone");
        twin_requests.add(tag(9), TwinRequestKind::Get, now);
        twin_requests.remove(tag(9));
        assert!(twin_requests.newest().is_none() && !twin_requests.contains(tag(9)));
    }
}
