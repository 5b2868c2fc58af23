//! Sends a request to a service: signs the request, retries it, enforces the deadline, and reads the answer.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hubward_dial::{Endpoint, TrustError};
use hubward_proto::dps::ServiceError as DpsRefusal;
use hubward_proto::retry_after;
use hubward_proto::service::http::{CLIENT_REQUEST_ID, REQUEST_ID};
use hubward_proto::service::{ArmRefusal, HubRefusal};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::clock;
use crate::credential::{Authorization, Credential};
use crate::error::{Refused, ServiceError, one_line};
use crate::http::{self, Http};
use crate::login::{Proof, ServiceLogin};
use crate::options::ServiceOptions;
use crate::retry::{self, Effect};

/// Maximum size of an answer in bytes. A page of 1,000 twins is much smaller, even if all twins have the maximum
/// size.
const ANSWER_MAX: usize = 128 * 1024 * 1024;

/// A connection to a service, with the credential for its requests.
pub(crate) struct Client {
    http: Http,
    secure: bool,
    endpoint: Endpoint,
    /// The prefix of each path. At the admin port of an emulator, each service API has its own prefix, such as `/dps`.
    base: String,
    api_version: Option<&'static str>,
    credential: Credential,
    deadline: Duration,
    attempts: u32,
}

/// A request, before it is signed and sent.
#[derive(Debug, Clone)]
pub(crate) struct RequestSpec {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The query string without `api-version`.
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
    pub(crate) effect: Effect,
    /// Time added to the deadline.
    pub(crate) extra_time: Duration,
    /// Whether a response with status 400 counts as a success if its body is a bulk result.
    pub(crate) accepts_bulk_result: bool,
    pub(crate) deadline: Option<Duration>,
    /// The API version to use instead of the client's.
    pub(crate) api_version: Option<&'static str>,
    /// The name of the device or module whose response is a part of the answer.
    ///
    /// The service forwards this response unchecked. If the answer is therefore not JSON, the error names the device or
    /// module.
    pub(crate) answered_by: Option<String>,
}

/// The answer of a successful request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl RequestSpec {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let effect = if method.is_safe() { Effect::Reads } else { Effect::Changes };
        Self {
            method,
            path: path.into(),
            query: None,
            headers: Vec::new(),
            body: None,
            effect,
            extra_time: Duration::ZERO,
            accepts_bulk_result: false,
            deadline: None,
            api_version: None,
            answered_by: None,
        }
    }
}

impl Client {
    /// Creates a client over HTTPS. The login contains the endpoint and the credential.
    pub(crate) fn secure(
        login: ServiceLogin,
        options: &ServiceOptions,
        api_version: &'static str,
    ) -> Result<Self, TrustError> {
        Ok(Self {
            http: Http::secure(options.tcp.clone(), &options.tls.client_config()?),
            secure: true,
            endpoint: login.endpoint.clone(),
            base: String::new(),
            api_version: Some(api_version),
            credential: Credential::new(login),
            deadline: options.deadline,
            attempts: options.attempts,
        })
    }

    /// Creates a client over plain HTTP, without a token.
    pub(crate) fn plain(endpoint: Endpoint, options: &ServiceOptions) -> Self {
        Self {
            http: Http::plain(options.tcp.clone()),
            secure: false,
            endpoint: endpoint.clone(),
            base: String::new(),
            api_version: None,
            credential: Credential::new(ServiceLogin { endpoint, proof: Proof::Nothing }),
            deadline: options.deadline,
            attempts: options.attempts,
        }
    }

    /// Creates a client for the paths that start with `base`. The new client and this client share one connection.
    pub(crate) fn mounted(&self, base: String, api_version: &'static str) -> Self {
        let endpoint = self.endpoint.clone();
        Self {
            http: self.http.clone(),
            secure: self.secure,
            endpoint: endpoint.clone(),
            base,
            api_version: Some(api_version),
            credential: Credential::new(ServiceLogin { endpoint, proof: Proof::Nothing }),
            deadline: self.deadline,
            attempts: self.attempts,
        }
    }

    /// The endpoint of the service or of an emulator's admin port.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request, and retries it if that is safe. Returns the last error if the client must not retry, or if the
    /// next attempt would start after the deadline.
    pub(crate) async fn call(&self, spec: &RequestSpec) -> Result<Answer, ServiceError> {
        let limit = spec.deadline.unwrap_or(self.deadline).saturating_add(spec.extra_time);
        let until = deadline(limit);
        match timeout_at(until, self.attempts(spec, until)).await {
            Ok(answer) => answer,
            Err(_) => Err(ServiceError::Timeout { endpoint: self.endpoint.to_string(), after: limit }),
        }
    }

    /// Sends a request once. If the request succeeds, returns the body of the answer as a stream. The deadline does not
    /// cover reading this stream.
    pub(crate) async fn open(&self, spec: &RequestSpec) -> Result<Incoming, ServiceError> {
        let limit = spec.deadline.unwrap_or(self.deadline);
        let begun = async {
            let (authorization, response) = self.send(spec).await?;
            if response.status().is_success() {
                return Ok(response.into_body());
            }
            let (head, body) = response.into_parts();
            let body = self.read(body).await.unwrap_or_default();
            Err(self.refused(spec, &authorization, &head, &body))
        };
        match timeout_at(deadline(limit), begun).await {
            Ok(body) => body,
            Err(_) => Err(ServiceError::Timeout { endpoint: self.endpoint.to_string(), after: limit }),
        }
    }

    async fn attempts(&self, spec: &RequestSpec, until: Instant) -> Result<Answer, ServiceError> {
        let mut attempt = 1;
        loop {
            let error = match self.once(spec).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(wait) = retry::after(&error, spec.effect, attempt, self.attempts, fastrand::u8(..)) else {
                return Err(error);
            };
            // If the deadline is before the next attempt, return the error of this attempt: it says more than a
            // timeout.
            if Instant::now().checked_add(wait).is_none_or(|next| next >= until) {
                return Err(error);
            }
            tracing::debug!(attempt, ?wait, "retrying: {error}");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&self, spec: &RequestSpec) -> Result<Answer, ServiceError> {
        let (authorization, response) = self.send(spec).await?;
        let (head, body) = response.into_parts();
        let body = self.read(body).await;
        if head.status.is_success() {
            return Ok(Answer { headers: head.headers, body: body? });
        }
        // Use the status even if the body cannot be read.
        let body = body.unwrap_or_default();
        if spec.accepts_bulk_result && head.status == StatusCode::BAD_REQUEST && is_bulk_result(&body) {
            return Ok(Answer { headers: head.headers, body });
        }
        Err(self.refused(spec, &authorization, &head, &body))
    }

    async fn send(&self, spec: &RequestSpec) -> Result<(Authorization, Response<Incoming>), ServiceError> {
        let authorization = self.credential.authorization(clock::now()).await?;
        let request = self.request(spec, &authorization)?;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        tracing::debug!(endpoint = %self.endpoint, %method, path, "sending a request to the service");
        let response =
            self.http.request(request).await.map_err(|error| http::of_request(&self.endpoint.to_string(), &error))?;
        tracing::debug!(endpoint = %self.endpoint, status = response.status().as_u16(), "the service answered");
        Ok((authorization, response))
    }

    fn request(&self, spec: &RequestSpec, authorization: &Authorization) -> Result<Request<Full<Bytes>>, ServiceError> {
        let scheme = if self.secure { "https" } else { "http" };
        let mut query: Vec<String> = spec.query.iter().cloned().collect();
        let api_version = self.api_version.map(|it| spec.api_version.unwrap_or(it));
        query.extend(api_version.map(|it| format!("api-version={it}")));
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let mut builder = Request::builder()
            .method(spec.method.clone())
            .uri(format!("{scheme}://{}{}{}{query}", self.endpoint, self.base, spec.path))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("hubward-service/", env!("CARGO_PKG_VERSION")))
            .header(CLIENT_REQUEST_ID, request_id());
        if spec.body.is_some() && !spec.headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE) {
            builder = builder.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        }
        if let Some(value) = authorization.header()? {
            builder = builder.header(header::AUTHORIZATION, value);
        }
        for (name, value) in &spec.headers {
            builder = builder.header(name, value);
        }
        builder
            .body(Full::from(spec.body.clone().unwrap_or_default()))
            .map_err(|error| ServiceError::Request(format!("the path or the host name is not valid: {error}")))
    }

    async fn read(&self, mut body: Incoming) -> Result<Bytes, ServiceError> {
        let endpoint = || self.endpoint.to_string();
        let too_large = || ServiceError::Protocol {
            endpoint: endpoint(),
            problem: format!("the answer has more than {} MiB", ANSWER_MAX >> 20),
        };
        // The value of `Content-Length`, or zero if the header is absent.
        if body.size_hint().lower() > ANSWER_MAX as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| http::of_body(&endpoint(), &error))?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > ANSWER_MAX {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes.into())
    }

    fn refused(&self, spec: &RequestSpec, authorization: &Authorization, head: &Parts, body: &[u8]) -> ServiceError {
        let headers = &head.headers;
        let request = format!("{} {}", spec.method, spec.path);
        let mut refused = Refused::new(self.endpoint.to_string(), request, head.status.as_u16());
        let words = |text: &str| Some(one_line(&authorization.redact(text))).filter(|it| !it.is_empty());
        let hub = HubRefusal::parse(text(headers, HubRefusal::HEADER), body);
        // DPS sends `errorCode` and `message` as members of the body. `HubRefusal` reads these members too.
        let dps: DpsRefusal = serde_json::from_slice(body).unwrap_or_default();
        refused.code = hub.code.or(dps.error_code);
        // Only the error codes of a hub have names. `HubRefusal` also looks up a name for a code of DPS; ignore this
        // name.
        let is_hub = text(headers, HubRefusal::HEADER).is_some() || body_is_hubs(body);
        refused.name = hub.name.filter(|_| is_hub);
        let arm: Option<ArmRefusal> = serde_json::from_slice(body).ok();
        if let Some(ArmRefusal { error, .. }) = arm {
            (refused.name, refused.message) = (words(&error.code), words(&error.message));
        }
        // If the answer contains neither a message nor a code, a gateway between client and service may have sent it.
        // It is then not in the service's JSON format, so its whole text becomes the message.
        let is_foreign = refused.code.is_none() && refused.message.is_none();
        let message = hub.message.or_else(|| is_foreign.then(|| String::from_utf8_lossy(body).into_owned()));
        refused.message = message.and_then(|it| words(&it)).or(refused.message);
        refused.tracking_id = hub.tracking_id.or_else(|| text(headers, REQUEST_ID).map(str::to_owned));
        refused.tracking_id = refused.tracking_id.and_then(|it| words(&it));
        refused.server_time = date(headers);
        refused.bearer = matches!(authorization, Authorization::Bearer(_));
        let now = refused.server_time.unwrap_or_else(clock::now);
        refused.retry_after = text(headers, header::RETRY_AFTER.as_str()).and_then(|it| retry_after::parse(it, now));
        ServiceError::Refused(Box::new(refused))
    }

    /// Returns the error for an answer in which the text of the device is not JSON.
    pub(crate) fn of_device(&self, device: &str, body: &[u8]) -> ServiceError {
        let response = one_line(&String::from_utf8_lossy(body));
        ServiceError::DeviceResponse { endpoint: self.endpoint.to_string(), device: one_line(device), response }
    }

    /// The error for an answer that violates the protocol.
    pub(crate) fn protocol(&self, problem: impl Into<String>) -> ServiceError {
        ServiceError::Protocol { endpoint: self.endpoint.to_string(), problem: problem.into() }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint.to_string())
            .field("base", &self.base)
            .field("credential", &self.credential)
            .field("deadline", &self.deadline)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// Returns the time at which `limit` has passed. A longer limit than 100 years counts as 100 years, because the sum
/// must not overflow.
fn deadline(limit: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Instant::now() + limit.min(CENTURY)
}

fn is_bulk_result(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|it| it.get("isSuccessful").is_some())
}

/// Whether a body has the form of a hub's error.
fn body_is_hubs(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|it| it.get("Message").is_some())
}

/// A random GUID (version 4).
fn request_id() -> String {
    let bits = fastrand::u128(..) & !(0xf000_u128 << 64) & !(0b11_u128 << 62) | (0x4000_u128 << 64) | (0b10_u128 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, header::DATE.as_str())?).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
