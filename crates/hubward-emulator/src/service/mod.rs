//! The service APIs, as an operator's tools use them over HTTPS.

mod auth;
mod dps;
mod faults;
pub(crate) mod fuzzing;
mod hub;
mod if_match;
mod page;

use hyper::Request;
use hyper::body::Incoming;

use self::faults::Api;
pub(crate) use auth::Access;
pub(crate) use hub::query_of;
#[cfg(feature = "admin")]
pub(crate) use hub::{Form, Problem, invoke, patch_twin};

use crate::http::{Cut, Reply};
use crate::shared::Shared;

/// Most bytes of a body.
const BODY_MOST: usize = 512 * 1024;

const TOO_LARGE: &str = "The request is larger than 512 KB.";

/// Whether a path is one of a service API, or begins like one.
pub(crate) fn is_asked(path: &str) -> bool {
    dps::is_asked(path) || hub::is_asked(path)
}

/// Answers one request from the network, whose path [`is_asked`] knows.
pub(crate) async fn handle(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Cut> {
    let path = request.uri().path().to_owned();
    if hub::is_asked(&path) {
        return faults::around(shared, Api::of_hub(&path), hub::handle(shared, None, &path, request)).await;
    }
    faults::around(shared, Api::Dps, dps::handle(shared, Gate::Token, &path, request)).await
}

/// Answers one request of the admin port to DPS, below a mount point that is not in `path`. The caller
/// has checked who asks.
#[cfg(feature = "admin")]
pub(crate) async fn handle_open(shared: &Shared, path: &str, request: Request<Incoming>) -> Result<Reply, Cut> {
    dps::handle(shared, Gate::Open, path, request).await
}

/// Answers one request of the admin port to a hub, likewise.
#[cfg(feature = "admin")]
pub(crate) async fn handle_hub(
    shared: &Shared,
    hub: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Cut> {
    hub::handle(shared, Some(hub), path, request).await
}

/// Whether a path is one of DPS's service API, or begins like one.
#[cfg(feature = "admin")]
pub(crate) fn is_for_dps(path: &str) -> bool {
    dps::is_asked(path)
}

/// Whether a path is one of a hub's service API, or begins like one.
#[cfg(feature = "admin")]
pub(crate) fn is_for_hub(path: &str) -> bool {
    hub::is_asked(path)
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
