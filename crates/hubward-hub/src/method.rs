//! Direct methods: registering handlers, the call that a handler receives, and the response it returns.

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

/// The result of a handler.
pub(crate) type Outcome = Result<MethodResponse, MethodError>;

/// A handler as the client stores it.
pub(crate) type Handler = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

impl HubClient {
    /// Serves a direct method: the client calls `handler` for each call of `name`, from now on and on every
    /// connection. The handler replaces an earlier one of the same name; calls that the earlier one is working
    /// on continue.
    ///
    /// ```
    /// # use hubward_hub::{HubClient, MethodError, MethodResponse, Unsupported};
    /// # fn example(hub: &HubClient) -> Result<(), Unsupported> {
    /// hub.serve_method("setInterval", |call| async move {
    ///     let seconds: u64 = call.json()?; // answers 400 if the payload is not a `u64`
    ///     if seconds == 0 {
    ///         return Err(MethodError::bad_request("the interval must not be zero"));
    ///     }
    ///     MethodResponse::json(200, &serde_json::json!({ "seconds": seconds }))
    /// })
    /// # }
    /// ```
    ///
    /// Calls run concurrently and in no particular order, each in its own task. The caller always gets one
    /// response, unless the connection ends first:
    ///
    /// | status | when |
    /// |---|---|
    /// | the handler's | it returned a response, or a [`MethodError`] with a status |
    /// | 400 | the payload is not JSON; the handler is not called |
    /// | 404 | no handler serves this name |
    /// | 500 | the handler failed or panicked, or its response is not JSON or over 128 KB |
    /// | 503 | [`method_calls`](crate::HubOptions::method_calls) calls are running already; the handler is not called |
    /// | 504 | the handler exceeded [`method_deadline`](crate::HubOptions::method_deadline); its future is dropped |
    ///
    /// If the handler has no response, a body `{"error": "…"}` gives the reason. The text of an error goes only
    /// to the log, unless the error was [made for the caller](MethodError::new). The client answers a call only
    /// over the connection that the call came over, since the hub does not know the call on another one; it
    /// counts the calls it could not answer ([`methods_unanswered`](crate::HubCounts::methods_unanswered)).
    ///
    /// A handler must not block its thread; see [`tokio::task::spawn_blocking`]. It may close the client:
    /// [`HubClient::close`] does not wait for running calls. A planned renewal does wait, within
    /// [`renewal_drain`](crate::HubOptions::renewal_drain). The end of the client does not stop a running
    /// handler; its response is then discarded.
    ///
    /// The hub does not send calls to a device that never served a method. After a device has served one, a
    /// persistent session remembers the subscription, so calls may arrive as soon as the client has logged in.
    /// Register the handlers right after [`HubClient::spawn`], without an `.await` in between.
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

    /// Serves every method that has no [handler of its own](HubClient::serve_method); without this handler, the
    /// client answers such calls with 404.
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
    /// Returns the name of the method.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the payload that the caller sent: JSON, or empty.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Deserializes the caller's payload as `T`. An empty payload counts as `null`, so that an `Option` accepts
    /// both.
    ///
    /// # Errors
    /// A [`MethodError`] with status 400 that says what is wrong; return it with `?`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, MethodError> {
        let payload: &[u8] = if self.payload.is_empty() { b"null" } else { &self.payload };
        serde_json::from_slice(payload)
            .map_err(|problem| MethodError::bad_request(format!("the payload is not what was expected: {problem}")))
    }

    /// Returns the client that received the call, if the program still holds a handle of it.
    #[must_use]
    pub fn hub(&self) -> Option<HubClient> {
        self.hub.upgrade()
    }
}

/// A handler's response: a status that the program chooses, and JSON or an empty body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    pub(crate) status: i32,
    pub(crate) body: Bytes,
}

impl MethodResponse {
    /// Makes a response with a status and no body. By convention, 200 means success; the hub does not interpret
    /// it.
    #[must_use]
    pub const fn new(status: i32) -> Self {
        Self { status, body: Bytes::new() }
    }

    /// Makes a response with a status and a body of at most 128 KB of JSON.
    ///
    /// # Errors
    /// A [`MethodError`] with status 500 if `body` cannot be serialized as JSON.
    pub fn json(status: i32, body: &(impl Serialize + ?Sized)) -> Result<Self, MethodError> {
        Ok(Self { status, body: serde_json::to_vec(body)?.into() })
    }

    /// Makes a response with a status and a body that already is JSON, at most 128 KB. If it is not, the caller
    /// gets 500.
    #[must_use]
    pub fn raw(status: i32, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into() }
    }
}

/// Why a handler has no response. The caller gets its status, and a body `{"error": "…"}`.
///
/// The `?` operator converts every error into one with status 500. The text of such an error goes to the log
/// and not to the caller, since it may contain details that the cloud should not see. Like `anyhow::Error`,
/// this type therefore does not implement [`std::error::Error`] itself.
pub struct MethodError {
    status: i32,
    /// For the caller.
    message: Option<String>,
    /// For the log.
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl MethodError {
    /// Makes an error for the caller, with a status and a message that the program chooses.
    #[must_use]
    pub fn new(status: i32, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()), source: None }
    }

    /// Makes an error for the caller: the payload is invalid (status 400).
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// Returns the status that the caller gets.
    #[must_use]
    pub const fn status(&self) -> i32 {
        self.status
    }

    /// The message that the caller gets.
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
    /// Stores a handler and returns the one it replaces.
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

/// The body that gives the caller the reason.
pub(crate) fn error_body(why: &str) -> Bytes {
    serde_json::json!({ "error": why }).to_string().into()
}
