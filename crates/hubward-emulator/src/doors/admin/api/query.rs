//! The query string of a stream: its start and its filters.

use hyper::header::HeaderMap;
use percent_encoding::percent_decode_str;

use super::Failure;

/// The start of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Starts at the entry with this number. If the log has dropped this entry, starts at the oldest entry.
    Number(u64),
    /// Starts after the entry with this number. A browser that reconnects sends this number in the header
    /// `Last-Event-ID`.
    After(u64),
    /// The next new entry.
    Latest,
}

/// The parameters of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) from: From,
    /// Return one page of JSON instead of a stream.
    pub(super) page: bool,
    /// The other parameters.
    filters: Vec<(String, String)>,
}

impl Query {
    /// Parses the query parameters `from`, `format` and the filters in `known`. Each parameter may occur once.
    ///
    /// Also reads the header `Last-Event-ID`, which overrides `from`.
    ///
    /// Returns an error if a parameter is unknown, occurs twice or has an invalid value, or if `Last-Event-ID` is not a
    /// number.
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
        // A browser reconnects with the same URL, so `Last-Event-ID` overrides `from`.
        if let Some(id) = headers.get("last-event-id").filter(|it| !it.is_empty()) {
            let number = id.to_str().ok().and_then(|it| it.parse().ok());
            let wrong_id = || Failure::wrong("Last-Event-ID must be the number of an entry.");
            this.from = From::After(number.ok_or_else(wrong_id)?);
        }
        Ok(this)
    }

    pub(super) fn filter(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(it, _)| it == name).map(|(_, text)| text.as_str())
    }

    /// Returns the number of the first entry to send, and whether the emulator has restarted since the client read the
    /// log. `total` is the number of entries that the log has ever had.
    ///
    /// `Last-Event-ID` may name an entry that this log has never had. The client then read the log of an earlier run of
    /// the emulator. The second value is then `true`, and the stream starts at entry 0.
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
    Failure::wrong(format!("The query is not valid. Allowed parameters, each once: {}.", names.join(", ")))
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
    fn parses_the_start_and_the_filters() {
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
    fn starts_at_0_if_the_client_knows_another_log() {
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
