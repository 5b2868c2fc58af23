//! The request in progress.

use hubward_dial::Endpoint;
use hubward_transport::{SasToken, Stage};

/// The details of the request in progress that error messages need.
pub(crate) struct RequestContext<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) stage: Stage,
    /// Whether the client presents a certificate.
    pub(crate) has_certificate: bool,
    pub(crate) token: Option<&'a SasToken>,
}
