//! Registers the handlers of direct methods, and defines the call that a handler receives.

use std::sync::Arc;

use bytes::Bytes;
use hubward_transport::{Call, Feature};
use serde::de::DeserializeOwned;

use super::WeakHubClient;
use crate::method::{Handler, MethodOutcome};
use crate::{HubClient, MethodError, MethodResponse, Unsupported};

impl HubClient {
    /// Registers `handler` for the direct method `name`. From now on, the client calls the handler for each call of the
    /// method, on every connection.
    ///
    /// The new handler replaces an earlier handler of the same name. Calls that the earlier handler is working on
    /// continue.
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
    /// Each call runs in its own task. Calls run concurrently and in no particular order. If the connection does not
    /// end first, the caller gets exactly one response:
    ///
    /// | status | when |
    /// |---|---|
    /// | the handler's | the handler returned a response, or a [`MethodError`] with a status |
    /// | 400 | the payload is not JSON, or the name cannot be read; the handler is not called |
    /// | 404 | no handler serves this name |
    /// | 500 | the handler returned another error or panicked, or its response is not JSON or over 128 KB |
    /// | 503 | [`method_calls`](crate::HubOptions::method_calls) calls are running already; the handler is not called |
    /// | 504 | the handler exceeded [`method_deadline`](crate::HubOptions::method_deadline); its future is dropped |
    ///
    /// If the handler returned no response, the caller gets a body `{"error": "…"}`.
    ///
    /// If the handler returned an error that was [made for the caller](MethodError::new), the body contains the text of
    /// the error. The text of any other error goes only to the log.
    ///
    /// The client answers a call only over the connection that delivered the call, because the hub does not know the
    /// call on any other connection. The client counts the calls that it could not answer
    /// ([`methods_unanswered`](crate::HubCounts::methods_unanswered)).
    ///
    /// A handler must not block its thread; see [`tokio::task::spawn_blocking`].
    ///
    /// If the client reconnects to renew its token, it first waits for running calls, at most for
    /// [`renewal_drain`](crate::HubOptions::renewal_drain).
    ///
    /// A handler may call [`HubClient::close`], because `close` does not wait for running calls. When the client has
    /// ended, a running handler continues, but the client discards its response.
    ///
    /// The hub sends calls only to a device that has subscribed to them. A persistent session keeps the subscription
    /// of an earlier connection, so calls may arrive right after the login.
    ///
    /// Register the handlers right after [`HubClient::spawn`], without an `.await` in between.
    ///
    /// # Errors
    /// [`Unsupported`] if the protocol does not support methods.
    ///
    /// Source: `[doc]` iot-hub/iot-hub-devguide-direct-methods.md.
    pub fn serve_method<F, R>(&self, name: impl Into<String>, handler: F) -> Result<(), Unsupported>
    where
        F: Fn(MethodCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<MethodResponse, MethodError>> + Send + 'static,
    {
        self.serve(Some(name.into()), handler)
    }

    /// Registers `handler` for every method that has no [handler of its own](HubClient::serve_method). Without this
    /// handler, the client answers calls of such methods with 404.
    ///
    /// # Errors
    /// [`Unsupported`] if the protocol does not support methods.
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
        R: Future<Output = MethodOutcome> + Send + 'static,
    {
        self.check(Feature::Methods)?;
        let hub = self.downgrade();
        let handler: Handler = Arc::new(move |Call { name, body, .. }| {
            Box::pin(handler(MethodCall { name, payload: body, hub: hub.clone() }))
        });
        self.shared.incoming.serve(name, handler);
        self.subscribe(Feature::Methods);
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

    /// Deserializes the caller's payload as `T`. An empty payload counts as `null`, so an `Option` accepts an empty
    /// payload and a value.
    ///
    /// # Errors
    /// A [`MethodError`] with status 400 and a text that says what is wrong. To send it to the caller, return it with
    /// `?`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, MethodError> {
        let payload: &[u8] = if self.payload.is_empty() { b"null" } else { &self.payload };
        serde_json::from_slice(payload)
            .map_err(|problem| MethodError::bad_request(format!("the payload is not what was expected: {problem}")))
    }

    /// Returns a handle of the client that received the call; `None` if the program holds no handle any more.
    #[must_use]
    pub fn hub(&self) -> Option<HubClient> {
        self.hub.upgrade()
    }
}
