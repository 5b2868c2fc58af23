//! The service APIs over HTTPS.

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

/// Maximum size of a body in bytes.
const BODY_MOST: usize = 512 * 1024;

const TOO_LARGE: &str = "The request is larger than 512 KB.";

/// Whether a path belongs to a service API, or begins like one of its paths.
pub(crate) fn is_asked(path: &str) -> bool {
    dps::is_asked(path) || hub::is_asked(path)
}

/// Processes a request from the network for a path that [`is_asked`] accepts.
pub(crate) async fn handle(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Cut> {
    let path = request.uri().path().to_owned();
    if hub::is_asked(&path) {
        return faults::around(shared, Api::of_hub(&path), hub::handle(shared, None, &path, request)).await;
    }
    faults::around(shared, Api::Dps, dps::handle(shared, Authentication::Required, &path, request)).await
}

/// Processes a request of the admin port to DPS. `path` does not contain the mount point. The caller has authorized
/// the request.
#[cfg(feature = "admin")]
pub(crate) async fn handle_open(shared: &Shared, path: &str, request: Request<Incoming>) -> Result<Reply, Cut> {
    dps::handle(shared, Authentication::Done, path, request).await
}

/// Processes a request of the admin port to a hub, likewise.
#[cfg(feature = "admin")]
pub(crate) async fn handle_hub(
    shared: &Shared,
    hub: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Cut> {
    hub::handle(shared, Some(hub), path, request).await
}

/// Whether a path belongs to the service API of DPS, or begins like one of its paths.
#[cfg(feature = "admin")]
pub(crate) fn is_for_dps(path: &str) -> bool {
    dps::is_asked(path)
}

/// Whether a path belongs to the service API of a hub, or begins like one of its paths.
#[cfg(feature = "admin")]
pub(crate) fn is_for_hub(path: &str) -> bool {
    hub::is_asked(path)
}

/// Whether a request still has to be authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authentication {
    /// The request must have a token and a known api-version.
    Required,
    /// The caller of the function has authorized the request.
    #[cfg(feature = "admin")]
    Done,
}

/// The `api-version` of a query string; empty if there is none.
pub(crate) fn api_version(query: Option<&str>) -> &str {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("api-version")).map_or("", |(_, it)| it)
}
