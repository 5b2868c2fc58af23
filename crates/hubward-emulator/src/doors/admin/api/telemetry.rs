//! `GET /api/telemetry/{hub}`: returns the messages that a hub receives, as server-sent events, as a page of JSON, or
//! as a file of JSON lines.

use hyper::header::{CONTENT_DISPOSITION, HeaderMap};

use super::feed::{Feed, Shape};
use super::page::{page, shown};
use super::query::Query;
use super::{Failure, json_reply};
use crate::doors::admin::Admin;
use crate::doors::http::{Reply, value};
use crate::state::telemetry::{Telemetry, TelemetryLog, TelemetryReader};

const FILTERS: [&str; 2] = ["device", "module"];

/// Selects messages by their sender.
#[derive(Debug, Clone, Default)]
struct Filter {
    device: Option<String>,
    module: Option<String>,
}

impl Filter {
    fn new(query: &Query) -> Self {
        let filter = |name| query.filter(name).map(str::to_owned);
        Self { device: filter("device"), module: filter("module") }
    }

    fn takes(&self, telemetry: &Telemetry) -> bool {
        self.device.as_ref().is_none_or(|it| *it == telemetry.device_id)
            && self.module.as_ref().is_none_or(|it| telemetry.module_id.as_ref() == Some(it))
    }
}

struct Messages {
    reader: TelemetryReader,
    filter: Filter,
}

impl Feed for Messages {
    async fn next(&mut self) -> (u64, Option<String>) {
        let telemetry = self.reader.next().await;
        (telemetry.offset, self.filter.takes(&telemetry).then(|| shown(&telemetry).to_string()))
    }

    fn skipped(&self) -> u64 {
        self.reader.skipped()
    }
}

pub(super) fn answer(admin: &Admin, hub: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Reply, Failure> {
    let log = log(admin, hub)?;
    let query = Query::read(query, headers, &FILTERS)?;
    let (from, restarted) = query.start(log.total());
    let filter = Filter::new(&query);
    if query.page {
        return Ok(json_reply(&admin.cloud, 200, &page(log, from, |it| filter.takes(it))));
    }
    let feed = Messages { reader: log.subscribe(from), filter };
    admin.stream(feed, Shape::Events, restarted, "text/event-stream")
}

/// Returns a file with the messages that the log contains now. The query can set the first message and filters.
pub(super) fn export(admin: &Admin, hub: &str, query: Option<&str>) -> Result<Reply, Failure> {
    let log = log(admin, hub)?;
    let query = Query::read(query, &HeaderMap::new(), &FILTERS)?;
    let end = log.total();
    let (from, _) = query.start(end);
    let feed = Messages { reader: log.subscribe(from), filter: Filter::new(&query) };
    let mut reply = admin.stream(feed, Shape::Lines { end }, false, "application/x-ndjson")?;
    let name: String = hub.chars().map(|it| if it.is_ascii_alphanumeric() || it == '.' { it } else { '-' }).collect();
    let disposition = format!("attachment; filename=\"telemetry-{name}.jsonl\"");
    reply.headers_mut().insert(CONTENT_DISPOSITION, value(&disposition));
    Ok(reply)
}

fn log<'a>(admin: &'a Admin, hub: &str) -> Result<&'a TelemetryLog, Failure> {
    admin.cloud.logs.get(&hub.to_ascii_lowercase()).ok_or_else(|| Failure::no_hub(hub))
}
