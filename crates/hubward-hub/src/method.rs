//! Direct methods: what a handler is given, and what it gives back.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hubward_transport::{Call, Feature};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{HubClient, Unsupported, WeakHubClient};

/// What a handler makes of a call.
pub(crate) type Outcome = Result<MethodResponse, MethodError>;

/// A handler, and the client it belongs to.
pub(crate) type Handler = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

impl HubClient {
    /// Serves a direct method: `handler` is called for each call of `name`, from now on and on every
    /// connection. Another handler of the same name is replaced; calls that it works on are not
    /// disturbed.
    ///
    /// ```
    /// # use hubward_hub::{HubClient, MethodError, MethodResponse, Unsupported};
    /// # fn example(hub: &HubClient) -> Result<(), Unsupported> {
    /// hub.serve_method("setInterval", |call| async move {
    ///     let seconds: u64 = call.json()?; // 400 if it is none
    ///     if seconds == 0 {
    ///         return Err(MethodError::bad_request("the interval must not be zero"));
    ///     }
    ///     MethodResponse::json(200, &serde_json::json!({ "seconds": seconds }))
    /// })
    /// # }
    /// ```
    ///
    /// Calls are worked on at the same time, in no order, each in a task of its own. Whatever
    /// happens, the caller gets one answer, unless the connection ends first:
    ///
    /// | status | when |
    /// |---|---|
    /// | the handler's | it returned a response, or a [`MethodError`] with a status |
    /// | 400 | the payload is not JSON; the handler is not called |
    /// | 404 | nobody serves this name |
    /// | 500 | the handler failed or panicked, or its response is not JSON or over 128 KB |
    /// | 503 | [`method_calls`](crate::HubOptions::method_calls) are being worked on already; the handler is not called |
    /// | 504 | it took longer than [`method_deadline`](crate::HubOptions::method_deadline); its future is dropped |
    ///
    /// Where the handler has no response, a body `{"error": "…"}` says why. What an error contains goes
    /// to the log only, unless it was [made for the caller](MethodError::new). A call is answered over the connection
    /// it came over or not at all, since the hub does not know it on another one;
    /// [counted](crate::HubCounts::methods_unanswered).
    ///
    /// A handler must not block its thread; see [`tokio::task::spawn_blocking`]. It may close the
    /// client: [`HubClient::close`] does not wait for calls that are being worked on. A planned renewal
    /// does, within [`renewal_drain`](crate::HubOptions::renewal_drain). The end of the client does not
    /// stop a handler at work; its answer then goes nowhere.
    ///
    /// The hub offers no calls to a device that never served a method. Once it did, a persistent
    /// session remembers: then handlers should be there before the login, so register them right
    /// after [`HubClient::spawn`], without an `.await` in between.
    ///
    /// # Errors
    /// [`Unsupported`] if the protocol cannot carry methods.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md.
    pub fn serve_method<F, R>(&self, name: impl Into<String>, handler: F) -> Result<(), Unsupported>
    where
        F: Fn(MethodCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<MethodResponse, MethodError>> + Send + 'static,
    {
        self.serve(Some(name.into()), handler)
    }

    /// Serves every method that has no [handler of its own](HubClient::serve_method), instead of
    /// answering 404.
    ///
    /// # Errors
    /// [`Unsupported`] if the protocol cannot carry methods.
    pub fn serve_methods<F, R>(&self, handler: F) -> Result<(), Unsupported>
    where
        F: Fn(MethodCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<MethodResponse, MethodError>> + Send + 'static,
    {
        self.serve(None, handler)
    }

    fn serve<F, R>(&self, name: Option<String>, handler: F) -> Result<(), Unsupported>
    where
        F: Fn(MethodCall) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.check(Feature::Methods)?;
        let hub = self.downgrade();
        let handler: Handler = Arc::new(move |Call { name, body, .. }| {
            Box::pin(handler(MethodCall { name, payload: body, hub: hub.clone() }))
        });
        self.shared.incoming.serve(name, handler);
        self.want(Feature::Methods);
        Ok(())
    }
}

/// A call of a direct method.
#[derive(Debug, Clone)]
pub struct MethodCall {
    name: String,
    payload: Bytes,
    hub: WeakHubClient,
}

impl MethodCall {
    /// Which method.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the caller passed: JSON, or empty.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What the caller passed, read as `T`. No payload counts as `null`, so that an `Option` takes
    /// both.
    ///
    /// # Errors
    /// A [`MethodError`] with status 400 that says what is wrong; return it with `?`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, MethodError> {
        let payload: &[u8] = if self.payload.is_empty() { b"null" } else { &self.payload };
        serde_json::from_slice(payload)
            .map_err(|problem| MethodError::bad_request(format!("the payload is not what was expected: {problem}")))
    }

    /// The client that the call came to, as long as the program holds a handle of it.
    #[must_use]
    pub fn hub(&self) -> Option<HubClient> {
        self.hub.upgrade()
    }
}

/// A handler's answer: a status of the program's choice, and JSON or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    pub(crate) status: i32,
    pub(crate) body: Bytes,
}

impl MethodResponse {
    /// A status without a body. 200 by convention for success; the hub gives it no meaning.
    #[must_use]
    pub const fn new(status: i32) -> Self {
        Self { status, body: Bytes::new() }
    }

    /// A status and a body, at most 128 KB of JSON.
    ///
    /// # Errors
    /// A [`MethodError`] with status 500 if `body` cannot be written as JSON.
    pub fn json(status: i32, body: &(impl Serialize + ?Sized)) -> Result<Self, MethodError> {
        Ok(Self { status, body: serde_json::to_vec(body)?.into() })
    }

    /// A status and a body that is JSON already, at most 128 KB. The caller gets 500 if it is not.
    #[must_use]
    pub fn raw(status: i32, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into() }
    }
}

/// Why a handler has no response. The caller gets its status, and a body `{"error": "…"}`.
///
/// Every error turns into one with status 500 by `?`. What such an error says goes to the log and
/// not to the caller: it may name what is nobody's business in the cloud. Like `anyhow::Error` it is
/// therefore no [`std::error::Error`] itself.
pub struct MethodError {
    status: i32,
    /// For the caller.
    message: Option<String>,
    /// For the log.
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl MethodError {
    /// An error for the caller: a status of the program's choice, and words for the cloud's side.
    #[must_use]
    pub fn new(status: i32, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()), source: None }
    }

    /// An error for the caller: what it passed cannot be used (status 400).
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// What the caller gets.
    #[must_use]
    pub const fn status(&self) -> i32 {
        self.status
    }

    /// What the caller is told.
    pub(crate) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or("the method failed")
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for MethodError {
    fn from(error: E) -> Self {
        Self { status: 500, message: None, source: Some(Box::new(error)) }
    }
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message())?;
        let mut next: Option<&dyn Error> = self.source.as_deref().map(|it| it as &dyn Error);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodError({}, {self})", self.status)
    }
}

/// The handlers of one client.
#[derive(Default)]
pub(crate) struct Handlers {
    by_name: BTreeMap<String, Handler>,
    rest: Option<Handler>,
}

impl Handlers {
    /// Gives back the handler that it replaces.
    pub(crate) fn insert(&mut self, name: Option<String>, handler: Handler) -> Option<Handler> {
        match name {
            Some(name) => self.by_name.insert(name, handler),
            None => self.rest.replace(handler),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Handler> {
        self.by_name.get(name).or(self.rest.as_ref()).cloned()
    }
}

/// A body that tells the caller why.
pub(crate) fn error_body(why: &str) -> Bytes {
    serde_json::json!({ "error": why }).to_string().into()
}
