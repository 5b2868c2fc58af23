//! Paths of the DPS service API.

use percent_encoding::percent_decode_str;

use crate::services::dps::Refusal;

/// The kind of object that a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Enrollments,
    Groups,
    Registrations,
}

/// The operation of a request. The strings are ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Get(String),
    Put(String),
    Delete(String),
    /// Get the keys.
    Attestation(String),
    /// Query all objects.
    Query,
    /// Query the registrations of a group.
    QueryOf(String),
    /// Bulk request.
    Bulk,
}

impl Action {
    /// Whether the request must have a body with JSON.
    pub(crate) const fn has_json(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Query | Self::Bulk)
    }
}

/// The parsed method and path of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceRequest {
    pub(crate) subject: Subject,
    pub(crate) action: Action,
}

impl ServiceRequest {
    /// Parses the method and the path of a request. Ignores the letter case of the fixed segments, because the SDKs
    /// write these segments in different letter case.
    ///
    /// Source: `[sdk]` azure-iot-sdk-node, which writes `/enrollmentgroups/`, and `/enrollments/` for bulk
    /// requests.
    pub(crate) fn parse(method: &str, path: &str) -> Result<Self, Refusal> {
        let route = Route::parse(path).ok_or_else(|| Refusal::generic(404, "There is nothing at this path."))?;
        let subject = route.subject;
        let action = match (route.rest, method) {
            (Rest::All, "POST") => Action::Bulk,
            (Rest::One(id), "POST") if subject != Subject::Registrations && id.eq_ignore_ascii_case("query") => {
                Action::Query
            }
            (Rest::QueryOf(id), "POST") => Action::QueryOf(id),
            (Rest::One(id), "GET") => Action::Get(id),
            (Rest::One(id), "PUT") if subject != Subject::Registrations => Action::Put(id),
            (Rest::One(id), "DELETE") => Action::Delete(id),
            (Rest::Attestation(id), "POST") => Action::Attestation(id),
            _ => return Err(Refusal::generic(405, "The path does not have this method.")),
        };
        Ok(Self { subject, action })
    }
}

/// Returns whether the first segment of a path belongs to this API. The remaining segments may be unknown.
pub(crate) fn is_asked(path: &str) -> bool {
    subject(path.trim_start_matches('/').split('/').next().unwrap_or_default()).is_some()
}

/// The methods of a path, for `Allow`.
pub(crate) fn allowed(path: &str) -> String {
    let Some(Route { subject, rest }) = Route::parse(path) else { return String::new() };
    match rest {
        Rest::One(_) if subject == Subject::Registrations => "GET, DELETE",
        // `/enrollments/query` has two meanings: a query for enrollments, and the enrollment with the id `query`.
        Rest::One(id) if id.eq_ignore_ascii_case("query") => "GET, PUT, DELETE, POST",
        Rest::One(_) => "GET, PUT, DELETE",
        Rest::All | Rest::Attestation(_) | Rest::QueryOf(_) => "POST",
    }
    .to_owned()
}

struct Route {
    subject: Subject,
    rest: Rest,
}

enum Rest {
    All,
    One(String),
    QueryOf(String),
    Attestation(String),
}

impl Route {
    fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let id = |text: &str| {
            let id = percent_decode_str(text).decode_utf8().ok()?.into_owned();
            (!id.is_empty()).then_some(id)
        };
        let subject = subject(parts.first()?)?;
        let rest = match &parts[1..] {
            // One SDK adds a slash to the path of a bulk request.
            [] | [""] if subject != Subject::Registrations => Rest::All,
            [one] => Rest::One(id(one)?),
            [one, word] if subject == Subject::Registrations && word.eq_ignore_ascii_case("query") => {
                Rest::QueryOf(id(one)?)
            }
            [one, word] if subject != Subject::Registrations && word.eq_ignore_ascii_case("attestationmechanism") => {
                Rest::Attestation(id(one)?)
            }
            _ => return None,
        };
        Some(Self { subject, rest })
    }
}

fn subject(word: &str) -> Option<Subject> {
    match word.to_ascii_lowercase().as_str() {
        "enrollments" => Some(Subject::Enrollments),
        "enrollmentgroups" => Some(Subject::Groups),
        "registrations" => Some(Subject::Registrations),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_methods_and_paths() {
        use Subject::{Enrollments, Groups, Registrations};
        for (method, path, subject, action) in [
            ("GET", "/enrollments/d1", Enrollments, Action::Get("d1".into())),
            ("PUT", "/Enrollments/a%3Ab", Enrollments, Action::Put("a:b".into())),
            ("DELETE", "/enrollmentgroups/g", Groups, Action::Delete("g".into())),
            ("POST", "/enrollmentGroups/g/attestationMechanism", Groups, Action::Attestation("g".into())),
            ("POST", "/enrollmentGroups", Groups, Action::Bulk),
            ("POST", "/enrollments/", Enrollments, Action::Bulk),
            ("POST", "/enrollments/Query", Enrollments, Action::Query),
            ("GET", "/enrollments/query", Enrollments, Action::Get("query".into())),
            ("GET", "/registrations/d1", Registrations, Action::Get("d1".into())),
            ("DELETE", "/registrations/query", Registrations, Action::Delete("query".into())),
            ("POST", "/registrations/g/query", Registrations, Action::QueryOf("g".into())),
        ] {
            assert_eq!(ServiceRequest::parse(method, path), Ok(ServiceRequest { subject, action }), "{method} {path}");
            assert!(is_asked(path), "{path}");
        }
        for (method, path, status) in [
            ("PATCH", "/enrollments/d1", 405),
            ("GET", "/enrollments/d1/attestationmechanism", 405),
            ("GET", "/enrollments/d1/keys", 404),
            ("GET", "/enrollments/", 405),
            ("POST", "/registrations/", 404),
            ("POST", "/enrollments//", 404),
            ("GET", "/enrollments", 405),
            ("POST", "/enrollments/d1", 405),
            ("PUT", "/registrations/d1", 405),
            ("POST", "/registrations/query", 405),
            ("POST", "/registrations", 404),
            ("POST", "/registrations/d1/attestationmechanism", 404),
            ("GET", "/enrollments/%ff", 404),
            ("GET", "/certificates", 404),
        ] {
            assert_eq!(ServiceRequest::parse(method, path).map_err(|it| it.status), Err(status), "{method} {path}");
        }
        assert!(!is_asked("/0ne1/registrations/d1/register"));
        assert_eq!(allowed("/enrollments/d1"), "GET, PUT, DELETE");
    }
}
