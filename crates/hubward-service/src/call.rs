//! A call that is sent when it is awaited.

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

use crate::client::{Ask, Client};
use crate::error::ServiceError;
use crate::retry::Effect;

/// A call of a service. Nothing happens before it is awaited; it gives a `T`.
///
/// ```no_run
/// # async fn example(hub: hubward_service::HubService) -> Result<(), hubward_service::ServiceError> {
/// let device = hub.device("dev-1").await?;                        // the model
/// let json = hub.device("dev-1").raw().await?;                    // the service's own JSON
/// hub.delete_device("dev-1").if_match("NTk1NzM4OTA1").await?;     // only this version
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future ends the request; whether the service has done it is not known then.
#[must_use = "nothing is sent before the call is awaited"]
pub struct Call<T> {
    client: Arc<Client>,
    /// Or why it cannot be sent.
    ask: Result<Ask, ServiceError>,
    gives: PhantomData<fn() -> T>,
}

impl<T> Call<T> {
    pub(crate) fn new(client: &Arc<Client>, method: Method, path: impl Into<String>) -> Self {
        Self { client: Arc::clone(client), ask: Ok(Ask::new(method, path)), gives: PhantomData }
    }

    /// Only if the thing has this etag, with quotes or without; `*` is any. As `If-Match`.
    pub fn if_match(self, etag: &str) -> Self {
        let bare = etag.trim().trim_matches('"');
        let text = if bare == "*" { bare.to_owned() } else { format!("\"{bare}\"") };
        self.changed(|ask| {
            let value = HeaderValue::from_str(&text)
                .map_err(|_| ServiceError::Request("the etag has a character that HTTP cannot carry".into()))?;
            ask.headers.retain(|(name, _)| name != IF_MATCH);
            ask.headers.push((IF_MATCH, value));
            Ok(())
        })
    }

    /// With this body, in place of the model's: for members that this version does not know.
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body);
        self.changed(|ask| {
            let body = body.map_err(|error| ServiceError::Request(format!("the body is no JSON: {error}")))?;
            ask.body = Some(Bytes::from(body));
            Ok(())
        })
    }

    /// With this deadline in place of that of the options.
    pub fn deadline(self, limit: Duration) -> Self {
        self.changed(|ask| {
            ask.deadline = Some(limit);
            Ok(())
        })
    }

    /// With a query string, as it stands, beside `api-version`.
    pub fn query(self, query: impl Into<String>) -> Self {
        let query = query.into();
        self.changed(|ask| {
            ask.query = Some(query).filter(|it| !it.is_empty());
            Ok(())
        })
    }

    /// Gives the service's own JSON in place of the model; `null` where it says nothing.
    pub fn raw(self) -> Call<Value> {
        self.gives()
    }

    /// Gives the service's own JSON as it came, to the last space; `null` where it says nothing.
    pub fn verbatim(self) -> Call<Box<RawValue>> {
        self.gives()
    }

    fn gives<U>(self) -> Call<U> {
        Call { client: self.client, ask: self.ask, gives: PhantomData }
    }

    pub(crate) fn header(self, name: &'static str, value: String) -> Self {
        self.changed(|ask| {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| ServiceError::Request(format!("{name} has a character that HTTP cannot carry")))?;
            ask.headers.push((HeaderName::from_static(name), value));
            Ok(())
        })
    }

    /// The answer holds text of this device or module, which the service hands on unread.
    pub(crate) fn answered_by(self, device: String) -> Self {
        self.changed(|ask| {
            ask.answered_by = Some(device);
            Ok(())
        })
    }

    /// With the version of the API that has this call.
    pub(crate) fn api_version(self, version: &'static str) -> Self {
        self.changed(|ask| {
            ask.api_version = Some(version);
            Ok(())
        })
    }

    /// With these bytes as the body.
    pub(crate) fn bytes(self, body: Bytes) -> Self {
        let binary = HeaderValue::from_static("application/octet-stream");
        self.changed(|ask| {
            ask.headers.push((CONTENT_TYPE, binary));
            ask.body = Some(body);
            Ok(())
        })
    }

    /// With these headers, or the reason why they cannot be sent.
    pub(crate) fn headers(self, headers: Result<Vec<(String, String)>, ProtoError>) -> Self {
        self.changed(|ask| {
            for (name, value) in headers.map_err(|error| ServiceError::Request(error.to_string()))? {
                let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
                let cannot = || ServiceError::Request(format!("{name} is no header that HTTP can carry"));
                ask.headers.push(header.ok_or_else(cannot)?);
            }
            Ok(())
        })
    }

    /// It only asks, though its method could change something.
    pub(crate) fn asks(self) -> Self {
        self.changed(|ask| {
            ask.effect = Effect::Asks;
            Ok(())
        })
    }

    /// Takes longer by so much.
    pub(crate) fn extra(self, time: Duration) -> Self {
        self.changed(|ask| {
            ask.extra = time;
            Ok(())
        })
    }

    /// A 400 may carry a result.
    pub(crate) fn tells_bulk(self) -> Self {
        self.changed(|ask| {
            ask.tells_bulk = true;
            Ok(())
        })
    }

    fn changed(mut self, change: impl FnOnce(&mut Ask) -> Result<(), ServiceError>) -> Self {
        if let Ok(ask) = &mut self.ask
            && let Err(error) = change(ask)
        {
            self.ask = Err(error);
        }
        self
    }
}

impl<T> Call<T> {
    /// The parts, for who reads more than the body.
    pub(crate) fn into_parts(self) -> (Arc<Client>, Result<Ask, ServiceError>) {
        (self.client, self.ask)
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for Call<T> {
    type Output = Result<T, ServiceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let ask = self.ask?;
            let answer = self.client.ask(&ask).await?;
            match &ask.answered_by {
                Some(device) if is_no_json(&answer.body) => Err(self.client.of_device(device, &answer.body)),
                _ => parse(&self.client, &answer.body),
            }
        })
    }
}

fn is_no_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_err()
}

/// The body as a `T`; an empty one is `null`.
pub(crate) fn parse<T: DeserializeOwned>(client: &Client, body: &[u8]) -> Result<T, ServiceError> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"null" } else { body };
    // The error names a place and a type; it does not quote the text.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        client.protocol(format!("the answer is not the JSON it should be (line {line}, column {column})"))
    })
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies hold keys.
        let asked = self.ask.as_ref().map(|it| format!("{} {}", it.method, it.path));
        f.debug_struct("Call").field("asked", &asked).finish_non_exhaustive()
    }
}
