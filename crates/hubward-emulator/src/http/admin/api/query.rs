//! The query string of a stream: where it begins, and what it leaves out.

use hyper::header::HeaderMap;
use percent_encoding::percent_decode_str;

use super::Failure;

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// At this number, or at the oldest that is kept.
    Number(u64),
    /// After this one, as a browser says that reconnects: `Last-Event-ID`.
    After(u64),
    /// With what comes next.
    Latest,
}

/// The parameters of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) from: From,
    /// One page of JSON, now, instead of a stream.
    pub(super) page: bool,
    /// Whatever else was given.
    filters: Vec<(String, String)>,
}

impl Query {
    /// Reads `from`, `format` and these filters; each may be there once.
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap, known: &[&str]) -> Result<Self, Failure> {
        let mut this = Self { from: From::Number(0), page: false, filters: Vec::new() };
        let mut seen: Vec<&str> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|it| !it.is_empty()) {
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let text = percent_decode_str(text).decode_utf8().map_err(|_| wrong(known))?;
            if seen.contains(&name) {
                return Err(wrong(known));
            }
            seen.push(name);
            match (name, &*text) {
                ("from", "latest") => this.from = From::Latest,
                ("from", number) => this.from = From::Number(number.parse().map_err(|_| wrong(known))?),
                ("format", "json") => this.page = true,
                ("format", "sse") => {}
                (name, text) if known.contains(&name) && !text.is_empty() => {
                    this.filters.push((name.to_owned(), text.to_owned()));
                }
                _ => return Err(wrong(known)),
            }
        }
        // It is newer than the address, which stays the same whenever a browser connects again.
        if let Some(id) = headers.get("last-event-id").filter(|it| !it.is_empty()) {
            let number = id.to_str().ok().and_then(|it| it.parse().ok());
            this.from = From::After(number.ok_or_else(|| Failure::wrong("The Last-Event-ID is none of ours."))?);
        }
        Ok(this)
    }

    pub(super) fn filter(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(it, _)| it == name).map(|(_, text)| text.as_str())
    }

    /// The number to begin with in a log that has had `total` entries, and whether that log is another
    /// one than the client knows: what it has seen has not happened here.
    pub(super) fn start(&self, total: u64) -> (u64, bool) {
        match self.from {
            From::Number(number) => (number, false),
            From::Latest => (total, false),
            From::After(number) if number < total => (number + 1, false),
            From::After(_) => (0, true),
        }
    }
}

fn wrong(known: &[&str]) -> Failure {
    let mut names = vec!["from=NUMBER|latest", "format=json|sse"];
    names.extend(known);
    Failure::wrong(format!("The query does not fit. There is, each once: {}.", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, last_id: Option<&str>) -> Result<Query, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(id) = last_id {
            headers.insert("last-event-id", id.parse().expect("a value"));
        }
        Query::read(Some(query), &headers, &["device"])
    }

    #[test]
    fn reads_where_to_begin_and_what_to_leave_out() {
        for (query, last_id, from, page, device) in [
            ("", None, From::Number(0), false, None),
            ("from=7", None, From::Number(7), false, None),
            ("from=latest&format=json", None, From::Latest, true, None),
            ("format=sse&device=d%231", None, From::Number(0), false, Some("d#1")),
            ("from=7", Some("9"), From::After(9), false, None),
            ("from=7", Some(""), From::Number(7), false, None),
        ] {
            let read = read(query, last_id).expect("good");
            assert_eq!((read.from, read.page, read.filter("device")), (from, page, device), "{query}");
        }
        for (query, last_id) in [
            ("from=", None),
            ("from=-1", None),
            ("from=1&from=2", None),
            ("format=xml", None),
            ("device=", None),
            ("device=%ff", None),
            ("devise=d1", None),
            ("from", None),
            ("", Some("x")),
        ] {
            assert_eq!(read(query, last_id).expect_err(query).status, 400, "{query} {last_id:?}");
        }
    }

    #[test]
    fn begins_anew_where_the_log_is_another_one() {
        for (query, last_id, expected) in [
            ("from=3", None, (3, false)),
            ("from=30", None, (30, false)),
            ("from=latest", None, (10, false)),
            ("", Some("3"), (4, false)),
            ("", Some("9"), (10, false)),
            ("", Some("10"), (0, true)),
        ] {
            assert_eq!(read(query, last_id).expect("good").start(10), expected, "{query} {last_id:?}");
        }
    }
}
