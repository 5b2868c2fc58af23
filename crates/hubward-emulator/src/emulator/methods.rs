//! What a test does with direct methods from the side of the cloud.

use super::Emulator;
use crate::hub::{Invocation, InvokeError, MethodResult, invoke};

impl Emulator {
    /// Calls a direct method of a device; a module is named `{device}/{module}`.
    ///
    /// # Errors
    /// [`InvokeError`]. An answer is one whatever its status.
    ///
    /// # Cancel safety
    /// Dropping the future drops the answer; the device may have got the call.
    pub async fn invoke_method(
        &self,
        hub: &str,
        device_id: &str,
        invocation: Invocation,
    ) -> Result<MethodResult, InvokeError> {
        invoke(&self.shared, hub, device_id, invocation).await
    }
}
