//! Methods for messages to devices and modules.

use super::Emulator;
use crate::services;
use crate::services::hub::{CloudToDevice, SendProblem};
use crate::state::model::{CloudMessageView, FeedbackRecord};

impl Emulator {
    /// Sends a message to a device and returns the message id. The device does not have to be connected.
    ///
    /// The message stays in the device's queue until the device acknowledges it, it expires, or it reaches the maximum
    /// number of deliveries. The queue holds at most 50 messages.
    ///
    /// # Errors
    /// [`SendProblem`] with the code that the service would return.
    pub fn send_to_device(&self, hub: &str, device_id: &str, message: CloudToDevice) -> Result<String, SendProblem> {
        services::hub::send(&self.cloud, hub, device_id, None, message)
    }

    /// Sends a message to an input of a module and returns the message id. The queue of the module has the same rules
    /// as the queue of a device.
    ///
    /// In the real service, such messages come from the output of another module.
    ///
    /// # Errors
    /// [`SendProblem`] with the code that the service would return.
    pub fn send_to_input(
        &self,
        hub: &str,
        device_id: &str,
        module_id: &str,
        input: &str,
        message: CloudToDevice,
    ) -> Result<String, SendProblem> {
        services::hub::send(&self.cloud, hub, device_id, Some((module_id, input)), message)
    }

    /// Returns the messages in the queue of a device, in the order in which they were sent. The result includes
    /// delivered messages that the device has not acknowledged. For a module, `device_id` is `{device}/{module}`.
    #[must_use]
    pub fn cloud_messages(&self, hub: &str, device_id: &str) -> Vec<CloudMessageView> {
        services::hub::queued(&self.cloud, hub, device_id).unwrap_or_default()
    }

    /// Deletes all messages in the queue of a device or module, and returns the number of deleted messages.
    pub fn purge_messages(&self, hub: &str, device_id: &str) -> usize {
        let now = self.cloud.clock.now();
        let purged = self.cloud.store.change(|state| {
            let hub = state.hub_mut(hub)?;
            hub.queue(device_id, now, |queue, _| queue.purge(now))
        });
        purged.unwrap_or_default()
    }

    /// Returns what happened to messages to devices, oldest first: for example, the device completed the message, or it
    /// expired. The list contains only messages whose senders requested feedback. A hub keeps the newest 10,000
    /// outcomes.
    #[must_use]
    pub fn feedback(&self, hub: &str) -> Vec<FeedbackRecord> {
        services::hub::feedback(&self.cloud, hub).unwrap_or_default()
    }
}
