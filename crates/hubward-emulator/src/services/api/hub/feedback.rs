//! Messages to devices over HTTPS: purge a queue, receive feedback.

use hubward_proto::service::PurgeResult;

use super::ApiResponse;
use super::identity::find;
use super::problem::Problem;
use crate::services::cloud::Cloud;
use crate::services::hub::Code;

/// Purges the message queue of a device.
///
/// Source: `[doc]` the REST page "Cloud To Device Messages - Purge Cloud To Device Message Queue".
pub(super) fn purge(cloud: &Cloud, hub: &str, device_id: &str) -> Result<ApiResponse, Problem> {
    let now = cloud.clock.now();
    let purged = cloud.store.change(|state| {
        find(state, hub, device_id)?;
        let count = state.hub_mut(hub).and_then(|it| it.queue(device_id, now, |queue, _| queue.purge(now)));
        Ok::<_, Problem>(count.unwrap_or_default())
    })?;
    let (total_messages_purged, device_id) = (purged as u64, device_id.to_owned());
    Ok(ApiResponse::json(&PurgeResult { total_messages_purged, device_id, module_id: None }))
}

/// Locks the next feedback records and returns these records. Returns 204 if there are no records, or while other
/// records are locked.
///
/// Source: `[doc]` the REST page "Cloud To Device Messages - Receive Feedback Notification": the ETag is the lock
/// token.
pub(super) fn receive(cloud: &Cloud, hub: &str) -> Result<ApiResponse, Problem> {
    let now = cloud.clock.now();
    let batch = cloud.store.change(|state| {
        let hub = state.hub_mut(hub)?;
        hub.refresh(None, now);
        hub.feedback.take(now)
    });
    Ok(batch.map_or_else(ApiResponse::nothing, |(token, records)| ApiResponse::json(&records).etag(&token)))
}

/// Completes or abandons the feedback records that a service has received.
///
/// Source: `[doc]` the REST pages "… Complete Feedback Notification" and "… Abandon Feedback Notification".
/// `[guess]`, from the name of the code: an unknown or expired lock token gets 412002.
pub(super) fn complete_or_abandon(
    cloud: &Cloud,
    hub: &str,
    token: &str,
    complete: bool,
) -> Result<ApiResponse, Problem> {
    let now = cloud.clock.now();
    let token = token.trim_matches('"');
    let is_valid = cloud
        .store
        .change(|state| state.hub_mut(hub).is_some_and(|it| it.feedback.complete_or_abandon(token, complete, now)));
    if is_valid { Ok(ApiResponse::nothing()) } else { Err(Problem::new(Code::DeviceMessageLockLost, token)) }
}
