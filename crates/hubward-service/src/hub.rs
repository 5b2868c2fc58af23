//! The service API of a hub: devices, modules, twins, methods, queries.

use std::sync::Arc;
use std::time::Duration;

use hubward_dial::TrustError;
use hubward_proto::service::http::{self, HUB_API_VERSION};
use hubward_proto::service::{
    CloudMessage, Device, DeviceBulkResult, DeviceOperation, MethodRequest, MethodResult, Module, PurgeResult,
    RegistryStatistics, ServiceStatistics, Twin, TwinPatch,
};
use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::Call;
use crate::client::Client;
use crate::login::ServiceLogin;
use crate::options::ServiceOptions;
use crate::pager::Pager;

/// A client of the service API of a hub. Clones share a connection.
///
/// Each method returns a [`Call`] or a [`Pager`]. The client sends the request when the caller awaits this value.
/// Errors have the type [`ServiceError`](crate::ServiceError).
///
/// Source: `[sdk]` azure-iot-hub (Python), protocol; `[doc]` rest/api/iothub/service, 2021-04-12.
#[derive(Debug, Clone)]
pub struct HubService {
    client: Arc<Client>,
}

/// A device or a module. Converts from a device id, and from a pair of device id and module id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The device id.
    pub device: &'a str,
    /// The module id; `None` for the device itself.
    pub module: Option<&'a str>,
}

impl<'a> From<&'a str> for Target<'a> {
    fn from(device: &'a str) -> Self {
        Self { device, module: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for Target<'a> {
    fn from((device, module): (&'a str, &'a str)) -> Self {
        Self { device, module: Some(module) }
    }
}

impl HubService {
    /// Creates a client of the hub in the login.
    ///
    /// # Errors
    /// [`TrustError`] if the certificate authorities cannot be loaded.
    pub fn new(login: ServiceLogin, options: &ServiceOptions) -> Result<Self, TrustError> {
        Ok(Self { client: Arc::new(Client::secure(login, options, HUB_API_VERSION)?) })
    }

    pub(crate) const fn of(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// Returns a device, including its keys.
    pub fn device(&self, device_id: &str) -> Call<Device> {
        self.call(Method::GET, http::device(device_id))
    }

    /// Creates a device. If it already exists, the call fails with 409.
    ///
    /// If `device` has no keys, the hub generates a primary and a secondary key and returns them. The hub refuses a
    /// device with only one key.
    pub fn create_device(&self, device: &Device) -> Call<Device> {
        self.call(Method::PUT, http::device(&device.device_id)).json(device)
    }

    /// Replaces a device. If `device` contains an ETag, the call succeeds only if the ETag still matches. Without an
    /// ETag, replaces any version.
    ///
    /// The hub replaces every member. If `device` has no `authentication`, the hub generates new keys.
    pub fn update_device(&self, device: &Device) -> Call<Device> {
        self.create_device(device).if_match(device.etag.as_deref().unwrap_or("*"))
    }

    /// Deletes a device and its modules. To delete only a certain version, set [`Call::if_match`].
    pub fn delete_device(&self, device_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::device(device_id)).if_match("*")
    }

    /// Lists the first `top` devices. The service returns at most 1,000 devices; this method does not check `top`. To
    /// list more devices, use a [`query`](Self::query).
    pub fn devices(&self, top: usize) -> Call<Vec<Device>> {
        self.call(Method::GET, "/devices").query(format!("top={top}"))
    }

    /// Creates, updates or deletes devices, or patches their twins: at most 100 operations per request. The answer
    /// lists the failed operations.
    ///
    /// If an operation fails, the hub answers with status 400, but the call succeeds.
    pub fn bulk_devices(&self, operations: &[DeviceOperation]) -> Call<DeviceBulkResult> {
        self.call(Method::POST, "/devices").json(&operations).accepts_bulk_result()
    }

    /// Deletes the queued messages of a device.
    pub fn purge(&self, device_id: &str) -> Call<PurgeResult> {
        self.call(Method::DELETE, format!("{}/commands", http::device(device_id)))
    }
}

impl HubService {
    /// Returns a module, including its keys.
    pub fn module(&self, device_id: &str, module_id: &str) -> Call<Module> {
        self.call(Method::GET, http::module(device_id, module_id))
    }

    /// Lists the modules of a device.
    pub fn modules(&self, device_id: &str) -> Call<Vec<Module>> {
        self.call(Method::GET, format!("{}/modules", http::device(device_id)))
    }

    /// Creates a module. If it already exists, the call fails with 409.
    ///
    /// If `module` has no keys, the hub generates a primary and a secondary key and returns them. The hub refuses a
    /// module with only one key.
    pub fn create_module(&self, module: &Module) -> Call<Module> {
        self.call(Method::PUT, http::module(&module.device_id, &module.module_id)).json(module)
    }

    /// Replaces a module. If `module` contains an ETag, the call succeeds only if the ETag still matches. Without an
    /// ETag, replaces any version.
    ///
    /// The hub replaces every member. If `module` has no `authentication`, the hub generates new keys.
    pub fn update_module(&self, module: &Module) -> Call<Module> {
        self.create_module(module).if_match(module.etag.as_deref().unwrap_or("*"))
    }

    /// Deletes a module. Set [`Call::if_match`] to delete only a certain version.
    pub fn delete_module(&self, device_id: &str, module_id: &str) -> Call<()> {
        self.call(Method::DELETE, http::module(device_id, module_id)).if_match("*")
    }
}

impl HubService {
    /// Returns the twin of a device or module.
    pub fn twin<'a>(&self, of: impl Into<Target<'a>>) -> Call<Twin> {
        self.call(Method::GET, twin_path(of.into()))
    }

    /// Merges `patch` into a twin. The value `null` removes a member. To change only a certain version, set
    /// [`Call::if_match`].
    pub fn update_twin<'a>(&self, of: impl Into<Target<'a>>, patch: &TwinPatch) -> Call<Twin> {
        self.call(Method::PATCH, twin_path(of.into())).json(patch).if_match("*")
    }

    /// Replaces the tags and the desired properties of a twin. To replace only a certain version, set
    /// [`Call::if_match`].
    pub fn replace_twin<'a>(&self, of: impl Into<Target<'a>>, twin: &TwinPatch) -> Call<Twin> {
        self.call(Method::PUT, twin_path(of.into())).json(twin).if_match("*")
    }

    /// Invokes a direct method of a device or module. The call succeeds if the device answers, with any status.
    ///
    /// The timeouts of the method extend the deadline of the call. If the call times out or the connection fails, the
    /// device may still have run the method.
    ///
    /// If the device answers with text that is not JSON, the call fails with
    /// [`ServiceError::DeviceResponse`](crate::ServiceError::DeviceResponse).
    pub fn invoke<'a>(&self, of: impl Into<Target<'a>>, method: &MethodRequest) -> Call<MethodResult> {
        let seconds = method
            .response_timeout_in_seconds
            .unwrap_or(30)
            .saturating_add(method.connect_timeout_in_seconds.unwrap_or_default());
        let Target { device, module } = of.into();
        let path = format!("{}/methods", http::twin(device, module));
        let answered_by = module.map_or_else(|| device.to_owned(), |module| format!("{device}/{module}"));
        self.call(Method::POST, path).json(method).extra_time(Duration::from_secs(seconds)).answered_by(answered_by)
    }

    /// Sends a message to a device over HTTP. The answer has no body. The request does not work for modules.
    ///
    /// No specification documents this request. Azure IoT Explorer uses it, and its source code shows the format.
    ///
    /// Property names must be in lower case. If a name or value is not valid in an HTTP header, the call fails
    /// with [`ServiceError::Request`](crate::ServiceError::Request).
    pub fn send_message(&self, device_id: &str, message: &CloudMessage) -> Call<()> {
        let path = format!("{}/messages/deviceBound", http::device(device_id));
        let call = self.call(Method::POST, path).api_version(CloudMessage::API_VERSION);
        call.headers(message.headers()).bytes(message.body.clone())
    }

    /// Runs a query. Returns the rows as JSON: whole twins, or the values that the query selects.
    pub fn query(&self, query: impl Into<String>) -> Pager<Value> {
        Pager::new(&self.client, "/devices/query", Some(query.into()))
    }

    /// Runs a query that returns twins. If the query selects other values, the call fails.
    pub fn query_twins(&self, query: impl Into<String>) -> Pager<Twin> {
        Pager::new(&self.client, "/devices/query", Some(query.into()))
    }

    /// Returns the number of devices.
    pub fn statistics(&self) -> Call<RegistryStatistics> {
        self.call(Method::GET, "/statistics/devices")
    }

    /// Returns the number of connected devices.
    pub fn connected(&self) -> Call<ServiceStatistics> {
        self.call(Method::GET, "/statistics/service")
    }

    /// Creates a request that this type does not offer as a method. `path` must start with `/`. Ids in `path` must be
    /// percent-encoded ([`segment`](http::segment)).
    pub fn call<T: DeserializeOwned>(&self, method: Method, path: impl Into<String>) -> Call<T> {
        Call::new(&self.client, method, path)
    }
}

fn twin_path(of: Target<'_>) -> String {
    http::twin(of.device, of.module)
}
