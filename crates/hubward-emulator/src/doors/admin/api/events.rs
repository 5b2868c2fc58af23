//! `GET /api/events`: the emulator's events, as server-sent events or in pages.

use hyper::header::HeaderMap;
use serde_json::json;

use super::feed::{Feed, Shape};
use super::query::Query;
use super::{Failure, json_reply};
use crate::doors::admin::Admin;
use crate::doors::http::Reply;
use crate::state::journal::{Event, EventReader};

/// Maximum number of events in a page.
const PAGE: usize = 1000;

/// Selects events.
#[derive(Debug, Clone, Default)]
struct Filter {
    kinds: Vec<String>,
    id: Option<String>,
    hub: Option<String>,
}

impl Filter {
    fn new(query: &Query) -> Self {
        let kinds = query.filter("kind").unwrap_or_default().split(',').filter(|it| !it.is_empty());
        Self {
            kinds: kinds.map(str::to_owned).collect(),
            id: query.filter("id").map(str::to_owned),
            hub: query.filter("hub").map(str::to_ascii_lowercase),
        }
    }

    fn takes(&self, event: &Event) -> bool {
        let has_kind = || json!(event.kind).as_str().is_some_and(|kind| self.kinds.iter().any(|it| it == kind));
        // Ignore letter case, because DPS ignores the letter case of registration ids.
        //
        // If the wanted id is the id of a device, also select the events of its modules, which have the id
        // `device/module`.
        let has_id = |wanted: &String| {
            event.id.as_deref().is_some_and(|id| {
                id.get(..wanted.len()).is_some_and(|it| it.eq_ignore_ascii_case(wanted))
                    && matches!(id.as_bytes().get(wanted.len()), None | Some(b'/'))
            })
        };
        (self.kinds.is_empty() || has_kind())
            && self.id.as_ref().is_none_or(has_id)
            && self
                .hub
                .as_ref()
                .is_none_or(|wanted| event.hub.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(wanted)))
    }
}

struct Events {
    reader: EventReader,
    filter: Filter,
}

impl Feed for Events {
    async fn next(&mut self) -> (u64, Option<String>) {
        let event = self.reader.next().await;
        let line = self.filter.takes(&event).then(|| serde_json::to_string(&*event));
        (event.seq, line.map(|it| it.expect("an event always serializes")))
    }

    fn skipped(&self) -> u64 {
        self.reader.skipped()
    }
}

pub(super) fn answer(admin: &Admin, query: Option<&str>, headers: &HeaderMap) -> Result<Reply, Failure> {
    let query = Query::read(query, headers, &["kind", "id", "hub"])?;
    let (log, filter) = (&admin.cloud.journal, Filter::new(&query));
    let (from, restarted) = query.start(log.total());
    if !query.page {
        let feed = Events { reader: log.subscribe(from), filter };
        return admin.stream(feed, Shape::Events, restarted, "text/event-stream");
    }
    let (mut events, mut next) = (Vec::new(), from);
    for event in log.from(from) {
        if events.len() == PAGE {
            break;
        }
        next = event.seq + 1;
        if filter.takes(&event) {
            events.push(json!(*event));
        }
    }
    Ok(json_reply(&admin.cloud, 200, &json!({ "events": events, "next": next })))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::state::clock::Clock;
    use crate::state::journal::{EventKind, EventLog, EventSource, Note};

    #[test]
    fn are_filtered_by_kind_id_and_hub() {
        let log = EventLog::new(Arc::new(Clock::new(Duration::ZERO)));
        let (hub, dps) = (EventSource::Hub, EventSource::Dps);
        log.note(Note::new(EventKind::Refused, dps).id("Dev-1"));
        log.note(Note::new(EventKind::Connected, hub).id("dev-1").hub("localhost"));
        log.note(Note::new(EventKind::Connected, hub).id("dev-1/m").hub("Localhost"));
        log.note(Note::new(EventKind::Refused, hub).id("dev-10").hub("other"));
        for (query, expected) in [
            ("", &[0, 1, 2, 3][..]),
            ("id=dev-1", &[0, 1, 2]),
            ("id=dev-1%2Fm", &[2]),
            ("kind=refused", &[0, 3]),
            ("kind=connected,refused&hub=LOCALHOST", &[1, 2]),
            ("kind=Refused", &[]),
        ] {
            let filter =
                Filter::new(&Query::read(Some(query), &HeaderMap::new(), &["kind", "id", "hub"]).expect("good"));
            let taken: Vec<_> = log.all().iter().filter(|it| filter.takes(it)).map(|it| it.seq).collect();
            assert_eq!(taken, expected, "{query}");
        }
    }
}
