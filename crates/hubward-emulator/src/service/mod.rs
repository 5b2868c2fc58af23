//! The service API of DPS: enrollments, groups and records as an operator's tools manage them, over HTTPS.

mod auth;
mod bulk;
mod enrollments;
mod groups;
mod kind;
mod path;
mod query;
mod records;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hubward_proto::service::{EnrollmentGroup, IndividualEnrollment};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap, IF_MATCH};
use tokio::time::timeout;

pub(crate) use auth::{Access, DPS_POLICY};
pub(crate) use path::is_asked;

use crate::dps::{Answer, Refusal, to_http};
use crate::http::{Cut, Pace, Reply, is_json, value};
use crate::shared::Shared;
use path::{Asked, Subject};

/// Answers one request whose path [`is_asked`] knows.
pub(crate) async fn handle(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Cut> {
    let (head, body) = request.into_parts();
    let uri = &head.uri;
    let asked = shared
        .access
        .check(&head.headers, uri.path(), &shared.clock)
        .and_then(|()| check_version(uri.query()))
        .and_then(|()| Asked::parse(head.method.as_str(), uri.path()));
    let answer = match asked {
        Ok(asked) => match read_body(&asked, &head.headers, body).await? {
            Ok(body) => answer(shared, &asked, &head.headers, &body),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    let Done { answer, headers } = answer.unwrap_or_else(|refusal| Answer::error(&refusal, shared.clock.now()).into());
    let wrong_method = answer.status == 405;
    let mut reply = to_http(&shared.clock, answer, Pace::AtOnce);
    for (name, text) in headers {
        reply.headers_mut().insert(name, value(&text));
    }
    if wrong_method {
        reply.headers_mut().insert(ALLOW, value(&path::allowed(uri.path())));
    }
    Ok(reply)
}

fn answer(shared: &Shared, asked: &Asked, headers: &HeaderMap, body: &[u8]) -> Result<Done, Refusal> {
    let if_match = IfMatch::read(headers)?;
    match asked.subject {
        Subject::Enrollments => kind::answer::<IndividualEnrollment>(shared, &asked.action, &if_match, headers, body),
        Subject::Groups => kind::answer::<EnrollmentGroup>(shared, &asked.action, &if_match, headers, body),
        Subject::Registrations => records::answer(shared, &asked.action, &if_match, headers, body),
    }
}

/// An answer with headers of its own.
#[derive(Debug)]
struct Done {
    answer: Answer,
    headers: Vec<(&'static str, String)>,
}

impl From<Answer> for Done {
    fn from(answer: Answer) -> Self {
        Self { answer, headers: Vec::new() }
    }
}

impl Done {
    /// It is done, and there is nothing to show.
    fn nothing() -> Self {
        Answer { body: Vec::new(), ..Answer::json(204, &()) }.into()
    }
}

/// Reads what the action needs, and no more.
async fn read_body(asked: &Asked, headers: &HeaderMap, body: Incoming) -> Result<Result<Bytes, Refusal>, Cut> {
    if asked.action.has_json() && !is_json(headers) {
        return Ok(Err(Refusal::generic(415, "The content type must be application/json.")));
    }
    match timeout(BODY, Limited::new(body, BODY_MOST).collect()).await {
        Ok(Ok(body)) => Ok(Ok(body.to_bytes())),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Ok(Err(Refusal::generic(413, "The request is larger than 512 KB.")))
        }
        // The client left in the middle, or takes for ever.
        Ok(Err(_)) | Err(_) => Err(Cut),
    }
}

/// Source: `[sdk]` the service SDKs and azure-rest-api-specs name these; that others are refused, and
/// with which code, is a `[guess]`.
fn check_version(query: Option<&str>) -> Result<(), Refusal> {
    let mut versions = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    let version = versions.find(|(name, _)| name.eq_ignore_ascii_case("api-version")).map_or("", |(_, it)| it);
    if version.is_empty() {
        return Err(Refusal::generic(400, "The api-version is missing."));
    }
    if !API_VERSIONS.contains(&version) {
        let known = API_VERSIONS.join(", ");
        return Err(Refusal::generic(400, format!("The api-version is unknown. Known ones are {known}.")));
    }
    Ok(())
}

/// On what version of a thing a request insists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum IfMatch {
    /// The header is absent.
    Absent,
    /// `*`
    Any,
    /// This one, without quotes.
    Etag(String),
}

impl IfMatch {
    /// SDKs send an etag with its quotes or without, and some put quotes around the star.
    ///
    /// Source: `[sdk]` azure-iot-sdk-node and azure-iot-sdk-csharp, service clients.
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(IF_MATCH).iter();
        let Some(first) = values.next() else { return Ok(Self::Absent) };
        let (Ok(text), None) = (first.to_str(), values.next()) else {
            return Err(Refusal::generic(400, "If-Match must be there once, as text."));
        };
        Ok(Self::parse(text))
    }

    /// Reads the text of a header, or the etag of a body.
    fn parse(text: &str) -> Self {
        match bare(text.trim()) {
            "*" => Self::Any,
            "" => Self::Absent,
            etag => Self::Etag(etag.to_owned()),
        }
    }

    /// Refuses if the thing has another etag.
    ///
    /// Source: `[doc]` iot-dps/how-to-troubleshoot-dps.md for 412; the six-digit code is a `[guess]`.
    fn check(&self, etag: Option<&str>) -> Result<(), Refusal> {
        match self {
            Self::Etag(wanted) if etag.map(bare) != Some(wanted) => {
                Err(Refusal::generic(412, "Precondition failed: the etag is another one."))
            }
            _ => Ok(()),
        }
    }
}

fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

const API_VERSIONS: [&str; 8] = [
    "2018-04-01",
    "2018-09-01-preview",
    "2018-11-01",
    "2019-03-31",
    "2020-09-01-preview",
    "2021-06-01",
    "2021-10-01",
    "2025-07-01-preview",
];

/// How long a client may take to send a request's body.
const BODY: Duration = Duration::from_secs(30);

/// Most bytes of a body.
const BODY_MOST: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn reads_if_match_however_it_is_quoted() {
        for (text, expected) in [
            ("*", IfMatch::Any),
            ("\"*\"", IfMatch::Any),
            ("\"4f00-00\"", IfMatch::Etag("4f00-00".into())),
            ("4f00-00", IfMatch::Etag("4f00-00".into())),
            ("", IfMatch::Absent),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, HeaderValue::from_static(text));
            assert_eq!(IfMatch::read(&headers), Ok(expected), "{text}");
        }
        let etag = IfMatch::Etag("4f00-00".into());
        assert_eq!(etag.check(Some("\"4f00-00\"")), Ok(()));
        assert_eq!(etag.check(Some("\"4f00-01\"")).map_err(|it| it.status), Err(412));
        assert_eq!(etag.check(None).map_err(|it| it.status), Err(412));
        assert_eq!(IfMatch::Any.check(Some("\"x\"")), Ok(()));
    }

    #[test]
    fn knows_its_api_versions() {
        for (query, ok) in [
            (Some("api-version=2021-10-01"), true),
            (Some("x=y&API-Version=2019-03-31"), true),
            (Some("api-version=2031-01-01"), false),
            (Some("api-version="), false),
            (Some("x"), false),
            (None, false),
        ] {
            assert_eq!(check_version(query).is_ok(), ok, "{query:?}");
        }
    }
}
