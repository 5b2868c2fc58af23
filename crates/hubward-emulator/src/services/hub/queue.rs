//! The message queues of devices and modules, and the feedback about their messages.

use std::sync::Arc;

use hubward_proto::hub::HubIdentity;
use hubward_proto::{DeviceId, HubHost, ModuleId};

use super::c2d::{CloudToDevice, SendProblem};
use crate::services::cloud::Cloud;
use crate::state::journal::{EventKind, EventSource, Note};
use crate::state::model::{CloudMessageView, FeedbackRecord, Hub, Key, Rules, State};

/// Adds a message to the queue of a device or module. For a module, `module` contains the module id and the input
/// name.
pub(crate) fn send(
    cloud: &Cloud,
    hub: &str,
    device_id: &str,
    module: Option<(&str, &str)>,
    message: CloudToDevice,
) -> Result<String, SendProblem> {
    let sent = put_into_queue(cloud, hub, device_id, module, message);
    if let Ok(message_id) = &sent {
        let client_id = module.map_or_else(|| device_id.to_owned(), |(it, _)| format!("{device_id}/{it}"));
        let note = Note::new(EventKind::MessageSent, EventSource::HubService).hub(hub).id(&client_id);
        cloud.journal.note(note.message(message_id));
    }
    sent
}

fn put_into_queue(
    cloud: &Cloud,
    hub: &str,
    device_id: &str,
    module: Option<(&str, &str)>,
    message: CloudToDevice,
) -> Result<String, SendProblem> {
    let now = cloud.clock.now();
    let (identity, rules) = cloud.store.read(|state| addressee(state, hub, device_id, module.map(|it| it.0)))?;
    // Encode the message before taking the lock: a message may have many properties, and encoding them takes time.
    let (post, expires) = message.prepare(&identity, module.map(|it| it.1), now, &rules)?;
    let (post, client_id) = (Arc::new(post), identity.client_id());
    cloud.store.change(|state| {
        let queue = |it: &mut Hub| it.queue(&client_id, now, |queue, _| queue.put(Arc::clone(&post), now, expires));
        match state.hub_mut(hub).and_then(queue) {
            Some(Ok(_)) => {
                state.live.notify_queue(&Key::hub(hub, &client_id));
                Ok(post.message_id.clone())
            }
            Some(Err(_)) => Err(SendProblem::QueueFull),
            // After the first check, another request has deleted the device.
            None => Err(SendProblem::UnknownDevice { device_id: device_id.to_owned() }),
        }
    })
}

/// Returns the messages in the queue of an identity. Returns `None` if the identity does not exist.
pub(crate) fn queued(cloud: &Cloud, hub: &str, client_id: &str) -> Option<Vec<CloudMessageView>> {
    let now = cloud.clock.now();
    cloud.store.update(|state| state.hub_mut(hub)?.queue(client_id, now, |queue, _| queue.view()))
}

/// Returns the feedback records of a hub. Returns `None` if the hub does not exist.
pub(crate) fn feedback(cloud: &Cloud, hub: &str) -> Option<Vec<FeedbackRecord>> {
    let now = cloud.clock.now();
    cloud.store.update(|state| {
        let hub = state.hub_mut(hub)?;
        hub.refresh(None, now);
        Some(hub.feedback.all())
    })
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
