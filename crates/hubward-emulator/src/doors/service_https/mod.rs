//! The service APIs over HTTPS.

mod dps;
mod faults;
mod hub;

use hyper::Request;
use hyper::body::Incoming;

use super::http::{Aborted, Reply};
use crate::services::api::{self, Authentication};
use crate::services::cloud::Cloud;
use faults::Api;

#[cfg(feature = "admin")]
pub(super) use hub::problem_reply;

/// Maximum size of a body in bytes.
const BODY_MAX: usize = 512 * 1024;

const TOO_LARGE: &str = "The request is larger than 512 KB.";

/// Returns whether the first segment of `path` belongs to a service API of DPS or a hub. Does not check the other
/// segments.
pub(super) fn is_asked(path: &str) -> bool {
    api::dps::is_asked(path) || api::hub::is_asked(path)
}

/// Processes a request that comes from the HTTPS port. Its path must be one that [`is_asked`] accepts.
pub(super) async fn handle(cloud: &Cloud, request: Request<Incoming>) -> Result<Reply, Aborted> {
    let path = request.uri().path().to_owned();
    if api::hub::is_asked(&path) {
        return faults::around(cloud, Api::of_hub(&path), hub::handle(cloud, None, &path, request)).await;
    }
    faults::around(cloud, Api::Dps, dps::handle(cloud, Authentication::Required, &path, request)).await
}

/// Processes a request to DPS that comes from the admin port and needs no token. `path` is the path without the prefix
/// `/dps`.
#[cfg(feature = "admin")]
pub(super) async fn handle_open(cloud: &Cloud, path: &str, request: Request<Incoming>) -> Result<Reply, Aborted> {
    dps::handle(cloud, Authentication::Done, path, request).await
}

/// Processes a request to a hub that comes from the admin port and needs no token. `path` is the path without the
/// prefix `/hubs/{hub}`.
#[cfg(feature = "admin")]
pub(super) async fn handle_hub(
    cloud: &Cloud,
    hub: &str,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Aborted> {
    hub::handle(cloud, Some(hub), path, request).await
}

/// Returns whether the first segment of `path` belongs to the service API of DPS. Does not check the other segments.
#[cfg(feature = "admin")]
pub(super) fn is_for_dps(path: &str) -> bool {
    api::dps::is_asked(path)
}

/// Returns whether the first segment of `path` belongs to the service API of a hub. Does not check the other segments.
#[cfg(feature = "admin")]
pub(super) fn is_for_hub(path: &str) -> bool {
    api::hub::is_asked(path)
}
