//! Methods for messages to devices and modules.

use std::sync::Arc;

use hubward_proto::hub::HubIdentity;
use hubward_proto::{DeviceId, HubHost, ModuleId};

use super::Emulator;
use super::devices::hub_key;
use crate::hub::{CloudToDevice, SendProblem};
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;
use crate::store::{CloudMessageView, FeedbackRecord, Hub, Rules, State};

impl Emulator {
    /// Sends a message to a device, whether it is connected or not. Returns the message id. The message stays in
    /// the device's queue (at most 50 messages) until the device acknowledges it or it expires.
    ///
    /// # Errors
    /// [`SendProblem`] with the code that the service would return.
    pub fn send_to_device(&self, hub: &str, device_id: &str, message: CloudToDevice) -> Result<String, SendProblem> {
        self.shared.send(hub, device_id, None, message)
    }

    /// Sends a message to an input of a module, as the output of another module does. Returns the message id. The
    /// rules for messages to devices apply.
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
        self.shared.send(hub, device_id, Some((module_id, input)), message)
    }

    /// The messages in the queue of a device, or of a module if the id is `{device}/{module}`, in the order in
    /// which they were sent. Includes messages that are delivered but not yet acknowledged.
    #[must_use]
    pub fn cloud_messages(&self, hub: &str, device_id: &str) -> Vec<CloudMessageView> {
        self.shared.cloud_messages(hub, device_id).unwrap_or_default()
    }

    /// Purges the queue of a device or module; returns the number of messages.
    pub fn purge_messages(&self, hub: &str, device_id: &str) -> usize {
        let now = self.shared.clock.now();
        let purged = self.shared.store.change(|state| {
            let hub = state.hub_mut(hub)?;
            hub.queue(device_id, now, |queue, _| queue.purge(now))
        });
        purged.unwrap_or_default()
    }

    /// The outcomes of messages whose senders requested feedback, oldest first. A hub keeps 10,000.
    #[must_use]
    pub fn feedback(&self, hub: &str) -> Vec<FeedbackRecord> {
        self.shared.feedback(hub).unwrap_or_default()
    }
}

impl Shared {
    /// Adds a message to the queue of a device or module. A module comes with the input that the message is for.
    pub(crate) fn send(
        &self,
        hub: &str,
        device_id: &str,
        module: Option<(&str, &str)>,
        message: CloudToDevice,
    ) -> Result<String, SendProblem> {
        let sent = self.put_into_queue(hub, device_id, module, message);
        if let Ok(message_id) = &sent {
            let client_id = module.map_or_else(|| device_id.to_owned(), |(it, _)| format!("{device_id}/{it}"));
            let note = Note::new(EventKind::MessageSent, EventSource::HubService).hub(hub).id(&client_id);
            self.journal.note(note.message(message_id));
        }
        sent
    }

    fn put_into_queue(
        &self,
        hub: &str,
        device_id: &str,
        module: Option<(&str, &str)>,
        message: CloudToDevice,
    ) -> Result<String, SendProblem> {
        let now = self.clock.now();
        let (identity, rules) = self.store.read(|state| addressee(state, hub, device_id, module.map(|it| it.0)))?;
        // Outside the lock, because a message may have many properties.
        let (post, expires) = message.prepare(&identity, module.map(|it| it.1), now, &rules)?;
        let (post, client_id) = (Arc::new(post), identity.client_id());
        self.store.change(|state| {
            let queue = |it: &mut Hub| it.queue(&client_id, now, |queue, _| queue.put(Arc::clone(&post), now, expires));
            match state.hub_mut(hub).and_then(queue) {
                Some(Ok(_)) => {
                    state.live.look(&hub_key(hub, &client_id));
                    Ok(post.message_id.clone())
                }
                Some(Err(_)) => Err(SendProblem::QueueFull),
                // The device was deleted in the meantime.
                None => Err(SendProblem::UnknownDevice { device_id: device_id.to_owned() }),
            }
        })
    }

    /// The messages in the queue of an identity; `None` if it does not exist.
    pub(crate) fn cloud_messages(&self, hub: &str, client_id: &str) -> Option<Vec<CloudMessageView>> {
        let now = self.clock.now();
        self.store.update(|state| state.hub_mut(hub)?.queue(client_id, now, |queue, _| queue.view()))
    }

    /// The feedback of a hub; `None` if there is no such hub.
    pub(crate) fn feedback(&self, hub: &str) -> Option<Vec<FeedbackRecord>> {
        let now = self.clock.now();
        self.store.update(|state| {
            let hub = state.hub_mut(hub)?;
            hub.refresh(None, now);
            Some(hub.feedback.all())
        })
    }
}

/// Returns the identity that owns the queue, and the rules of its hub.
fn addressee(
    state: &State,
    hub: &str,
    device_id: &str,
    module_id: Option<&str>,
) -> Result<(HubIdentity, Rules), SendProblem> {
    let unknown_hub = || SendProblem::UnknownHub { hub: hub.to_owned() };
    let registry = state.hub(hub).ok_or_else(unknown_hub)?;
    let unknown_device = || SendProblem::UnknownDevice { device_id: device_id.to_owned() };
    let device = DeviceId::new(device_id).map_err(|_| unknown_device())?;
    if !registry.devices.contains_key(device_id) {
        return Err(unknown_device());
    }
    let host = HubHost::new(registry.host.as_str()).map_err(|_| unknown_hub())?;
    let mut identity = HubIdentity::new(host, device);
    if let Some(module_id) = module_id {
        let unknown =
            || SendProblem::UnknownModule { device_id: device_id.to_owned(), module_id: module_id.to_owned() };
        identity = identity.module(ModuleId::new(module_id).map_err(|_| unknown())?);
        if !registry.devices.contains_key(&identity.client_id()) {
            return Err(unknown());
        }
    }
    Ok((identity, registry.rules))
}
