//! Registering again: what becomes of hub, twin and keys when the enrollment has changed, or has not.

use hubward::error::ProvisionError;
use hubward::provisioning::{AssignmentStatus, Substatus};
use hubward::{
    Assignment, ConnectError, ConnectionState, Credential, Fault, HubClient, Message, Settings, TransportKind,
};
use hubward_emulator::Emulator;
use hubward_proto::service::{AllocationPolicy, InitialTwin, ReprovisionPolicy};
use serde_json::json;

use crate::cloud::{Cloud, HUB, settings};
use crate::scenario::{Outcome, because, must};

const OTHER_HUB: &str = "127.0.0.1";

/// A device that moves to another hub has its twin there, and its connection to the old hub ends.
pub(super) async fn a_moved_device_takes_its_twin_along(cloud: Cloud, kind: TransportKind) -> Outcome {
    let (cloud, settings, old) = moving(cloud, kind, ReprovisionPolicy::default()).await?;
    let mut state = old.state();
    let assignment = because("registering again", settings.provision().await)?;
    assigned(&assignment, OTHER_HUB, Substatus::DeviceDataMigrated)?;
    let lost = state.wait_for(|it| matches!(it, ConnectionState::Disconnected { .. } | ConnectionState::Closed { .. }));
    because("the old connection ends", lost.await.map(drop))?;
    drop(old);
    must(cloud.emulator.device(HUB, "dev-1").is_none(), || "the old hub still knows the device".into())?;
    let hub = arrive(&settings, &assignment).await?;
    let twin = because("reading", hub.twin().await)?;
    must(twin.desired.get("interval") == Some(&json!(60)), || format!("what the cloud had set: {:?}", twin.desired))?;
    must(twin.reported.get("fan") == Some(&json!("on")), || format!("what it had reported: {:?}", twin.reported))?;
    because("telemetry", hub.send(Message::new("from the new hub")).await)?;
    let arrived = cloud.emulator.telemetry(OTHER_HUB).ok_or("no log")?.total();
    must(arrived == 1, || format!("{arrived} messages at the new hub"))
}

/// A device that is reset begins at the new hub with what its enrollment says now.
pub(super) async fn a_reset_device_begins_anew(cloud: Cloud, kind: TransportKind) -> Outcome {
    let policy = ReprovisionPolicy { update_hub_assignment: true, migrate_device_data: false };
    let (cloud, settings, old) = moving(cloud, kind, policy).await?;
    drop(old);
    let assignment = because("registering again", settings.provision().await)?;
    assigned(&assignment, OTHER_HUB, Substatus::DeviceDataReset)?;
    must(cloud.emulator.device(HUB, "dev-1").is_none(), || "the old hub still knows the device".into())?;
    let hub = arrive(&settings, &assignment).await?;
    let twin = because("reading", hub.twin().await)?;
    must(twin.desired.get("interval") == Some(&json!(15)), || format!("as the enrollment says: {:?}", twin.desired))?;
    must(twin.reported.get("fan").is_none(), || format!("nothing reported yet: {:?}", twin.reported))
}

/// A device that never moves stays, with its twin and its connection.
pub(super) async fn a_device_that_never_moves_stays(cloud: Cloud, kind: TransportKind) -> Outcome {
    let policy = ReprovisionPolicy { update_hub_assignment: false, migrate_device_data: false };
    let (cloud, settings, hub) = moving(cloud, kind, policy).await?;
    let assignment = because("registering again", settings.provision().await)?;
    assigned(&assignment, HUB, Substatus::ReprovisionedToInitialAssignment)?;
    must(cloud.emulator.device(OTHER_HUB, "dev-1").is_none(), || "the other hub knows the device".into())?;
    because("on the old connection", hub.send(Message::new("still here")).await)?;
    let twin = because("reading", hub.twin().await)?;
    must(twin.desired.get("interval") == Some(&json!(60)), || format!("{:?}", twin.desired))
}

/// A device that registers again at an unchanged enrollment is told that its hub knew it, and so is one
/// whose record was deleted; nothing is lost either way.
pub(super) async fn a_known_device_is_back_at_its_hub(cloud: Cloud, kind: TransportKind) -> Outcome {
    let settings = cloud.device("dev-1").transport(kind);
    let first = because("the first time", settings.provision().await)?;
    assigned(&first, HUB, Substatus::InitialAssignment)?;
    let hub = arrive(&settings, &first).await?;
    because("reporting", hub.report(&json!({ "fan": "on" })).await)?;
    for forget in [false, true] {
        must(!forget || cloud.emulator.delete_registration("dev-1"), || "no record".into())?;
        let again = because("once more", settings.provision().await)?;
        assigned(&again, HUB, Substatus::ReprovisionedToInitialAssignment)?;
        let twin = because("reading", hub.twin().await)?;
        must(twin.reported.get("fan") == Some(&json!("on")), || format!("{:?}", twin.reported))?;
    }
    Ok(())
}

/// What the emulator cannot do is a failed registration that says so.
pub(super) async fn an_allocation_that_is_not_emulated_fails_clearly(cloud: Cloud, kind: TransportKind) -> Outcome {
    for (policy, code, word) in
        [(AllocationPolicy::GeoLatency, 400_208, "geoLatency"), (AllocationPolicy::Custom, 400_207, "custom")]
    {
        let id = format!("dev-{word}");
        let enrolled = because("an enrollment", cloud.emulator.enrollment(&id).allocation(policy).create())?;
        match settings(&enrolled.vars()).transport(kind).provision().await {
            Err(ConnectError::Provision(ProvisionError::Rejected { state, .. })) => {
                must(state.error_code == Some(code), || format!("{word}: code {:?}", state.error_code))?;
                let message = state.error_message.unwrap_or_default();
                must(message.contains(word) && message.contains("does not emulate"), || format!("{word}: {message}"))?;
            }
            other => return Err(format!("{word}: {other:?}")),
        }
        must(cloud.emulator.device(HUB, &id).is_none(), || format!("{word}: the hub knows the device"))?;
    }
    Ok(())
}

/// Keys that change at DPS count there at once, and at the hub from the next registration on.
pub(super) async fn changed_keys_count_from_the_next_registration(cloud: Cloud, kind: TransportKind) -> Outcome {
    let old = because("an enrollment", cloud.emulator.enroll("dev-1"))?;
    let with_old = settings(&old.vars()).transport(kind);
    let first = because("with the old key", with_old.provision().await)?;
    let keys = cloud.emulator.enroll("spare").map(|it| (it.primary_key().clone(), it.secondary_key().clone()));
    let (primary, secondary) = because("other keys", keys)?;
    because("new keys", cloud.emulator.enrollment("dev-1").keys(&primary, &secondary).create())?;
    // The hub has not heard of it yet.
    drop(arrive(&with_old, &first).await?);
    match with_old.provision().await {
        Err(error) if error.fault() == Fault::Credential => {}
        other => return Err(format!("the old key: {other:?}")),
    }
    for key in [primary, secondary] {
        let mut with_new = with_old.clone();
        with_new.credential = Credential::SharedKey(key);
        let assignment = because("with a new key", with_new.provision().await)?;
        let hub = arrive(&with_new, &assignment).await?;
        because("telemetry", hub.send(Message::new("x")).await)?;
    }
    let refused = arrive(&with_old, &first).await;
    must(refused.is_err(), || "the hub still takes the old key".into())
}

/// A disabled enrollment stops a device of a group; when it is deleted, the group lets the device in
/// again. The hub keeps the device all along.
pub(super) async fn a_disabled_enrollment_bars_the_way_to_its_group(cloud: Cloud, kind: TransportKind) -> Outcome {
    let group = because("a group", cloud.emulator.enroll_group("line-7"))?;
    let settings = settings(&group.vars("pump-1")).transport(kind);
    because("through the group", settings.provision().await)?;
    let key = group.device_key("pump-1");
    because("barring it", cloud.emulator.enrollment("pump-1").keys(&key, &key).disabled().create())?;
    match settings.provision().await {
        Err(ConnectError::Provision(ProvisionError::Rejected { status: AssignmentStatus::Disabled, .. })) => {}
        other => return Err(format!("barred: {other:?}")),
    }
    must(cloud.emulator.device(HUB, "pump-1").is_some(), || "the hub has lost the device".into())?;
    because("letting it in", cloud.emulator.delete("pump-1"))?;
    because("through the group again", settings.provision().await)?;
    because("deleting the group", cloud.emulator.delete_group("line-7"))?;
    match settings.provision().await {
        Err(error) if error.fault() == Fault::Credential => {}
        other => return Err(format!("without the group: {other:?}")),
    }
    must(cloud.emulator.device(HUB, "pump-1").is_some(), || "the hub has lost the device".into())?;
    must(cloud.emulator.registration("pump-1").is_some(), || "the record is gone".into())
}

/// A cloud of two hubs with a device that is connected to the first, has reported, and has been given
/// other desired properties; its enrollment then names the second.
async fn moving(
    cloud: Cloud,
    kind: TransportKind,
    policy: ReprovisionPolicy,
) -> Result<(Cloud, Settings, HubClient), String> {
    drop(cloud);
    let cloud = Cloud::with(Emulator::builder().hubs([HUB, OTHER_HUB])).await;
    let enroll = |hub: &str, interval: u64| {
        let mut twin = InitialTwin::default();
        twin.properties.desired.insert("interval".into(), interval.into());
        let enrollment = cloud.emulator.enrollment("dev-1").allocation(AllocationPolicy::Static).hubs([hub]);
        because("an enrollment", enrollment.reprovision(policy).initial_twin(twin).create())
    };
    let settings = settings(&enroll(HUB, 30)?.vars()).transport(kind);
    let assignment = because("the first time", settings.provision().await)?;
    assigned(&assignment, HUB, Substatus::InitialAssignment)?;
    let hub = arrive(&settings, &assignment).await?;
    because("reporting", hub.report(&json!({ "fan": "on" })).await)?;
    because("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "interval": 60 })))?;
    enroll(OTHER_HUB, 15)?;
    Ok((cloud, settings, hub))
}

fn assigned(assignment: &Assignment, hub: &str, substatus: Substatus) -> Outcome {
    let found = (assignment.hub.as_str(), assignment.state.substatus.as_ref());
    must(found == (hub, Some(&substatus)), || format!("{found:?} instead of {hub}, {substatus:?}"))
}

async fn arrive(settings: &Settings, assignment: &Assignment) -> Result<HubClient, String> {
    because("connecting", settings.hub_settings(assignment).connect().await)
}
