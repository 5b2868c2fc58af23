//! A client of the admin port of hubward's emulator.
//!
//! The port offers both service APIs without authentication. It also offers requests that the real services do not
//! offer over HTTP.

use std::sync::Arc;

use hubward_dial::Endpoint;
use hubward_proto::service::http::{DPS_API_VERSION, HUB_API_VERSION, certificate, segment};
use hubward_proto::service::{CaCertificate, CaCertificateList, CaCertificateProof};
use hyper::{Method, Uri};
use serde::de::DeserializeOwned;

use crate::call::Call;
use crate::client::Client;
use crate::dps::DpsService;
use crate::error::ServiceError;
use crate::event_stream::EventStream;
use crate::hub::HubService;
use crate::options::ServiceOptions;

/// A client of the admin port of an emulator. Clones share a connection.
///
/// The port uses plain HTTP without a token. Every program that can reach the port has full access, and the traffic
/// is not encrypted. Use the port on one machine only.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward_service::{AdminPort, ServiceOptions};
///
/// let emulator = AdminPort::new("http://127.0.0.1:8480", &ServiceOptions::new())?;
/// let devices = emulator.hub("localhost").devices(10).await?;
/// let enrollments = emulator.dps().enrollments().all().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AdminPort {
    client: Arc<Client>,
}

impl AdminPort {
    /// Creates a client of the admin port at a URL such as `http://127.0.0.1:8480`. The URL may omit `http://`.
    ///
    /// # Errors
    /// [`AdminUrlError`] if the URL is not valid.
    pub fn new(url: &str, options: &ServiceOptions) -> Result<Self, AdminUrlError> {
        let endpoint = endpoint(url).ok_or(AdminUrlError)?;
        Ok(Self { client: Arc::new(Client::plain(endpoint, options)) })
    }

    /// The host of the URL. An IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.client.endpoint().host
    }

    /// The service API of the emulator's DPS.
    #[must_use]
    pub fn dps(&self) -> DpsService {
        DpsService::of(self.mounted("/dps".to_owned(), DPS_API_VERSION))
    }

    /// The service API of one of the emulator's hubs.
    #[must_use]
    pub fn hub(&self, host: &str) -> HubService {
        HubService::of(self.mounted(format!("/hubs/{}", segment(host)), HUB_API_VERSION))
    }

    /// Creates a request that this type does not offer as a method. `path` must start with `/`. Ids in `path` must be
    /// percent-encoded.
    pub fn call<T: DeserializeOwned>(&self, method: Method, path: impl Into<String>) -> Call<T> {
        Call::new(&self.client, method, path)
    }

    /// Opens a stream of server-sent events. If `last_event_id` is given, the stream starts after the event with this
    /// id.
    ///
    /// # Errors
    /// The same errors as for a [`Call`], but the client does not retry. The deadline covers only the wait for the
    /// status and headers of the answer.
    pub async fn events(
        &self,
        path: impl Into<String>,
        query: impl Into<String>,
        last_event_id: Option<&str>,
    ) -> Result<EventStream, ServiceError> {
        let mut call = self.call::<()>(Method::GET, path).query(query);
        if let Some(id) = last_event_id {
            call = call.header("last-event-id", id.to_owned());
        }
        let (client, spec) = call.into_parts();
        let body = client.open(&spec?).await?;
        Ok(EventStream::new(client.endpoint().to_string(), body))
    }

    fn mounted(&self, base: String, api_version: &'static str) -> Arc<Client> {
        Arc::new(self.client.mounted(base, api_version))
    }
}

/// The certificates of authorities, in the shapes of Azure Resource Manager (ARM). In Azure, these requests belong to
/// ARM, and not to the service API of DPS.
///
/// The emulator's DPS and hubs share one list of at most 25 certificates.
///
/// Source: `[doc]` azure-rest-api-specs, deviceprovisioningservices resource manager.
impl AdminPort {
    /// Lists the certificates.
    pub fn certificates(&self) -> Call<CaCertificateList> {
        self.call(Method::GET, "/api/certificates")
    }

    /// Returns a certificate.
    pub fn certificate(&self, name: &str) -> Call<CaCertificate> {
        self.call(Method::GET, path(name, ""))
    }

    /// Uploads a certificate. If the name exists already, the call fails with 409. To replace the certificate, set
    /// [`Call::if_match`].
    pub fn upload_certificate(&self, name: &str, upload: &CaCertificate) -> Call<CaCertificate> {
        self.call(Method::PUT, path(name, "")).json(upload)
    }

    /// Generates a verification code for a certificate. The code replaces an earlier one. `etag` is the version of the
    /// certificate; `*` matches any.
    pub fn generate_verification_code(&self, name: &str, etag: &str) -> Call<CaCertificate> {
        self.call(Method::POST, path(name, "/generateVerificationCode")).if_match(etag)
    }

    /// Proves that the caller has the key of a certificate. `etag` is the version of the certificate; `*` matches any.
    pub fn verify_certificate(&self, name: &str, proof: &CaCertificateProof, etag: &str) -> Call<CaCertificate> {
        self.call(Method::POST, path(name, "/verify")).json(proof).if_match(etag)
    }

    /// Deletes a certificate. `etag` is the version of the certificate; `*` matches any.
    pub fn delete_certificate(&self, name: &str, etag: &str) -> Call<()> {
        self.call(Method::DELETE, path(name, "")).if_match(etag)
    }
}

/// The path of a certificate at the admin port, and of an action on it.
fn path(name: &str, action: &str) -> String {
    format!("/api{}{action}", certificate(name))
}

/// The text is not the URL of an admin port.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the URL of an emulator's admin port; expected `http://HOST:PORT`")]
pub struct AdminUrlError;

hubward_proto::debug_as_error_report!(AdminUrlError);

fn endpoint(url: &str) -> Option<Endpoint> {
    let url = url.trim();
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = url.parse().ok()?;
    let is_plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
    let authority = uri.authority().filter(|it| is_plain && !it.as_str().contains('@'))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Endpoint::new(host, authority.port_u16().unwrap_or(80)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8480", Some(("127.0.0.1", 8480))),
            ("http://127.0.0.1:8480/", Some(("127.0.0.1", 8480))),
            ("localhost:8480", Some(("localhost", 8480))),
            ("http://[::1]:8480", Some(("::1", 8480))),
            ("http://emulator", Some(("emulator", 80))),
            ("https://localhost:8443", None),
            ("http://localhost:8480/health", None),
            ("http://u@localhost", None),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(endpoint(url), expected.map(|(host, port)| Endpoint::new(host, port)), "{url}");
        }
    }
}
