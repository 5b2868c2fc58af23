//! Methods to invoke direct methods.

use super::Emulator;
use crate::services::hub::{Invocation, InvokeError, MethodResult, invoke};

impl Emulator {
    /// Invokes a direct method of a device or module and returns the response. For a module, `device_id` is
    /// `{device}/{module}`.
    ///
    /// # Errors
    /// [`InvokeError`] if the emulator gets no response from the device. A response with an error status is not an
    /// error of this method.
    ///
    /// # Cancel safety
    /// If the future is dropped, the response is lost. The device may already have received the call.
    pub async fn invoke_method(
        &self,
        hub: &str,
        device_id: &str,
        invocation: Invocation,
    ) -> Result<MethodResult, InvokeError> {
        invoke(&self.cloud, hub, device_id, invocation).await
    }
}
