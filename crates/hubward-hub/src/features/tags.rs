//! Tags of requests. They are greater than all tags of telemetry, so the two kinds cannot be confused.

use std::num::NonZeroU16;

use hubward_transport::Tag;

use crate::HubOptions;

/// The first tag of a request. Telemetry uses the tags below.
const FIRST: NonZeroU16 = NonZeroU16::MIN.saturating_add(HubOptions::WINDOW_MAX);

/// The last tag of a request. An MQTT session uses the packet ids above this tag for its own packets.
const LAST: u16 = 0xfeff;

/// Gives out the tags one after the other, so it uses a tag again only after all other tags. A late response to an
/// earlier request therefore does not match the current request.
#[derive(Debug)]
pub(crate) struct RequestTags {
    next: NonZeroU16,
}

impl Default for RequestTags {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl RequestTags {
    pub(crate) fn take(&mut self) -> Tag {
        let tag = Tag(self.next);
        self.next = if self.next.get() >= LAST { FIRST } else { self.next.saturating_add(1) };
        tag
    }
}

/// Whether a tag belongs to a request.
pub(crate) const fn is_request(tag: Tag) -> bool {
    tag.0.get() >= FIRST.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_tags_differ_from_tags_of_messages_and_sessions() {
        let mut tags = RequestTags::default();
        let first = tags.take();
        assert_eq!(first.0.get(), HubOptions::WINDOW_MAX + 1);
        let all: Vec<u16> = (0..70_000).map(|_| tags.take().0.get()).collect();
        assert!(all.iter().all(|it| (FIRST.get()..=LAST).contains(it)));
        assert!(is_request(first) && !is_request(Tag(NonZeroU16::MIN)));
        assert!(all.contains(&LAST) && all.contains(&FIRST.get()), "the tags repeat");
    }
}
