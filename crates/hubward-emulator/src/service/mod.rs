//! The service APIs, as an operator's tools use them over HTTPS.

mod auth;
mod body;
mod dps;
mod if_match;
mod page;

use hyper::Request;
use hyper::body::Incoming;

pub(crate) use auth::Access;

use crate::http::{Cut, Reply};
use crate::shared::Shared;

/// Whether a path is one of a service API, or begins like one.
pub(crate) fn is_asked(path: &str) -> bool {
    dps::is_asked(path)
}

/// Answers one request from the network, whose path [`is_asked`] knows.
pub(crate) async fn handle(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Cut> {
    let path = request.uri().path().to_owned();
    dps::handle(shared, Gate::Token, &path, request).await
}

/// Answers one request of the admin port, below a mount point that is not in `path`. The caller has
/// checked who asks.
#[cfg(feature = "admin")]
pub(crate) async fn handle_open(shared: &Shared, path: &str, request: Request<Incoming>) -> Result<Reply, Cut> {
    dps::handle(shared, Gate::Open, path, request).await
}

/// Who may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Who has a token, and asks for an api-version that is known.
    Token,
    /// Everybody: whoever opened it has checked who asks.
    #[cfg(feature = "admin")]
    Open,
}

/// The `api-version` of a query string; empty if there is none.
pub(crate) fn api_version(query: Option<&str>) -> &str {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("api-version")).map_or("", |(_, it)| it)
}
