//! A request that is sent when the caller awaits it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hubward_proto::ProtoError;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{Client, RequestSpec};
use crate::error::ServiceError;
use crate::retry::Effect;

/// A request to a service. The client sends the request when the caller awaits this value. The result has the type
/// `T`.
///
/// ```no_run
/// # async fn example(hub: hubward_service::HubService) -> Result<(), hubward_service::ServiceError> {
/// let device = hub.device("dev-1").await?;                        // the typed model
/// let json = hub.device("dev-1").raw().await?;                    // the service's JSON
/// hub.delete_device("dev-1").if_match("NTk1NzM4OTA1").await?;     // only this version
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future cancels the request. The service may already have processed the request.
#[must_use = "no request is sent before the caller awaits the call"]
pub struct Call<T> {
    client: Arc<Client>,
    /// The request, or the reason why it cannot be sent.
    spec: Result<RequestSpec, ServiceError>,
    gives: PhantomData<fn() -> T>,
}

impl<T> Call<T> {
    pub(crate) fn new(client: &Arc<Client>, method: Method, path: impl Into<String>) -> Self {
        Self { client: Arc::clone(client), spec: Ok(RequestSpec::new(method, path)), gives: PhantomData }
    }

    /// Sets the header `If-Match`. The service then processes the request only if the ETag matches.
    ///
    /// `etag` may have quotes. `*` matches any ETag.
    pub fn if_match(self, etag: &str) -> Self {
        let bare = etag.trim().trim_matches('"');
        let text = if bare == "*" { bare.to_owned() } else { format!("\"{bare}\"") };
        self.changed(|spec| {
            let value = HeaderValue::from_str(&text)
                .map_err(|_| ServiceError::Request("the ETag contains a character that HTTP does not allow".into()))?;
            spec.headers.retain(|(name, _)| name != IF_MATCH);
            spec.headers.push((IF_MATCH, value));
            Ok(())
        })
    }

    /// Sends this JSON as the body instead of the model. The JSON may contain members that the model does not have.
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body);
        self.changed(|spec| {
            let body = body.map_err(|error| ServiceError::Request(format!("the body is not valid JSON: {error}")))?;
            spec.body = Some(Bytes::from(body));
            Ok(())
        })
    }

    /// Sets the deadline of this call. It replaces the deadline in [`ServiceOptions`](crate::ServiceOptions).
    pub fn deadline(self, limit: Duration) -> Self {
        self.changed(|spec| {
            spec.deadline = Some(limit);
            Ok(())
        })
    }

    /// Sets further query parameters, in addition to `api-version`. The client sends `query` unchanged.
    pub fn query(self, query: impl Into<String>) -> Self {
        let query = query.into();
        self.changed(|spec| {
            spec.query = Some(query).filter(|it| !it.is_empty());
            Ok(())
        })
    }

    /// Makes the call return the service's JSON instead of the model. If the answer has no body, the result is
    /// `null`.
    pub fn raw(self) -> Call<Value> {
        self.gives()
    }

    /// Makes the call return the service's JSON byte for byte, including whitespace. If the answer has no body, the
    /// result is `null`.
    pub fn verbatim(self) -> Call<Box<RawValue>> {
        self.gives()
    }

    fn gives<U>(self) -> Call<U> {
        Call { client: self.client, spec: self.spec, gives: PhantomData }
    }

    pub(crate) fn header(self, name: &'static str, value: String) -> Self {
        self.changed(|spec| {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| ServiceError::Request(format!("{name} contains a character that HTTP does not allow")))?;
            spec.headers.push((HeaderName::from_static(name), value));
            Ok(())
        })
    }

    /// Sets the name of the device or module whose response is a part of the answer.
    ///
    /// The service does not check the device's response before it forwards it. So the answer of the service may not be
    /// JSON. The call then fails with an error that names the device or module.
    pub(crate) fn answered_by(self, device: String) -> Self {
        self.changed(|spec| {
            spec.answered_by = Some(device);
            Ok(())
        })
    }

    /// Sets the API version of this request. Use it for a request that exists only in this version.
    pub(crate) fn api_version(self, version: &'static str) -> Self {
        self.changed(|spec| {
            spec.api_version = Some(version);
            Ok(())
        })
    }

    /// Sets a binary body.
    pub(crate) fn bytes(self, body: Bytes) -> Self {
        let binary = HeaderValue::from_static("application/octet-stream");
        self.changed(|spec| {
            spec.headers.push((CONTENT_TYPE, binary));
            spec.body = Some(body);
            Ok(())
        })
    }

    /// Adds these headers. If a name or value is not valid in HTTP, the call fails with the reason.
    pub(crate) fn headers(self, headers: Result<Vec<(String, String)>, ProtoError>) -> Self {
        self.changed(|spec| {
            for (name, value) in headers.map_err(|error| ServiceError::Request(error.to_string()))? {
                let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
                let cannot = || ServiceError::Request(format!("the name or value of {name} is not valid in HTTP"));
                spec.headers.push(header.ok_or_else(cannot)?);
            }
            Ok(())
        })
    }

    /// Marks the request as one that only reads, although its HTTP method is POST. The client then retries it in the
    /// same cases as a GET request.
    pub(crate) fn read_only(self) -> Self {
        self.changed(|spec| {
            spec.effect = Effect::Reads;
            Ok(())
        })
    }

    /// Extends the deadline by this time.
    pub(crate) fn extra_time(self, time: Duration) -> Self {
        self.changed(|spec| {
            spec.extra_time = time;
            Ok(())
        })
    }

    /// Makes the call also succeed after a response with status 400 whose body is a bulk result. Any other response
    /// with status 400 stays an error.
    pub(crate) fn accepts_bulk_result(self) -> Self {
        self.changed(|spec| {
            spec.accepts_bulk_result = true;
            Ok(())
        })
    }

    fn changed(mut self, change: impl FnOnce(&mut RequestSpec) -> Result<(), ServiceError>) -> Self {
        if let Ok(spec) = &mut self.spec
            && let Err(error) = change(spec)
        {
            self.spec = Err(error);
        }
        self
    }
}

impl<T> Call<T> {
    /// Returns the client and the request. Callers use this function if they need more than the body of the answer.
    pub(crate) fn into_parts(self) -> (Arc<Client>, Result<RequestSpec, ServiceError>) {
        (self.client, self.spec)
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, ServiceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let spec = self.spec?;
            let answer = self.client.call(&spec).await?;
            match &spec.answered_by {
                Some(device) if is_no_json(&answer.body) => Err(self.client.of_device(device, &answer.body)),
                _ => parse(&self.client, &answer.body),
            }
        })
    }
}

fn is_no_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_err()
}

/// Parses the body as a `T`. An empty body counts as `null`.
pub(crate) fn parse<T: DeserializeOwned>(client: &Client, body: &[u8]) -> Result<T, ServiceError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    // The text of this error contains a position, and no part of the answer.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        client.protocol(format!("the answer is not the expected JSON (line {line}, column {column})"))
    })
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Omits the body, because it may contain keys.
        let request = self.spec.as_ref().map(|it| format!("{} {}", it.method, it.path));
        f.debug_struct("Call").field("request", &request).finish_non_exhaustive()
    }
}
