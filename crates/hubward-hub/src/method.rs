//! The handlers of direct methods: a client's table of handlers, and the responses and errors that handlers return.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hubward_transport::Call;
use serde::Serialize;

/// The result of a handler.
pub(crate) type MethodOutcome = Result<MethodResponse, MethodError>;

/// A handler as the client stores it.
pub(crate) type Handler = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = MethodOutcome> + Send>> + Send + Sync>;

/// The response of a handler: a status that the program chooses, and a body that is JSON or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResponse {
    pub(crate) status: i32,
    pub(crate) body: Bytes,
}

impl MethodResponse {
    /// Makes a response with a status and no body. By convention, 200 means success. The hub does not interpret the
    /// status.
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

    /// Makes a response with a status and a body that is already JSON, at most 128 KB. If the body is invalid, the
    /// caller gets 500.
    #[must_use]
    pub fn raw(status: i32, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into() }
    }
}

/// The error of a handler. The caller of the method gets the error's status and a body `{"error": "…"}`.
///
/// The `?` operator converts any other error into a `MethodError` with status 500. The text of the other error goes
/// only to the log, because it may contain details that the cloud should not see.
///
/// `MethodError` itself does not implement [`std::error::Error`], because the compiler would then reject the conversion
/// from any other error. `anyhow::Error` does not implement this trait either, for the same reason.
pub struct MethodError {
    status: i32,
    /// For the caller.
    message: Option<String>,
    /// For the log.
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl MethodError {
    /// Makes an error with a status and a message that the caller of the method gets.
    #[must_use]
    pub fn new(status: i32, message: impl Into<String>) -> Self {
        Self { status, message: Some(message.into()), source: None }
    }

    /// Makes an error with status 400 for an invalid payload. The caller of the method gets `message`.
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
