//! The operations of the service APIs. At DPS: enrollments and registration records. At a hub: identities, twins,
//! methods, queries and messages.
//!
//! A door (the front end for a protocol) passes the head and the body of an HTTP request to these operations.

#[cfg(feature = "admin")]
pub(crate) mod authorities;
pub(crate) mod dps;
pub(crate) mod fuzzing;
pub(crate) mod hub;
mod if_match;
mod page;

/// Whether a request still has to be authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// The request must have a token and a known api-version.
    Required,
    /// The caller of this function has already authorized the request.
    #[cfg(feature = "admin")]
    Done,
}

/// The `api-version` of a query string; empty if there is none.
pub(crate) fn api_version(query: Option<&str>) -> &str {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("api-version")).map_or("", |(_, it)| it)
}
