//! A device registers again. In some scenarios, its enrollment has changed in between. The scenarios check the hub, the
//! twin and the keys of the device.

use hubward::error::ProvisionError;
use hubward::provisioning::{AssignmentStatus, Substatus};
use hubward::{
    Assignment, ConnectError, ConnectionState, Credential, Fault, HubClient, Message, Settings, TransportKind,
};
use hubward_emulator::Emulator;
use hubward_proto::service::{AllocationPolicy, InitialTwin, ReprovisionPolicy};
use serde_json::json;

use crate::cloud::{Cloud, HUB, settings};
use crate::scenario::{Outcome, context, ensure};

const OTHER_HUB: &str = "127.0.0.1";

/// A device that moves to another hub keeps its twin. The old hub closes the device's connection.
pub(super) async fn a_moved_device_keeps_its_twin(cloud: Cloud, kind: TransportKind) -> Outcome {
    let (cloud, settings, old) = moving(cloud, kind, ReprovisionPolicy::default()).await?;
    let mut state = old.state();
    let assignment = context("registering again", settings.provision().await)?;
    assigned(&assignment, OTHER_HUB, Substatus::DeviceDataMigrated)?;
    let lost = state.wait_for(|it| matches!(it, ConnectionState::Disconnected { .. } | ConnectionState::Closed { .. }));
    context("the old connection ends", lost.await.map(drop))?;
    drop(old);
    ensure(cloud.emulator.device(HUB, "dev-1").is_none(), || "the old hub still knows the device".into())?;
    let hub = arrive(&settings, &assignment).await?;
    let twin = context("reading", hub.twin().await)?;
    ensure(twin.desired.get("interval") == Some(&json!(60)), || {
        format!("the desired properties are not those of the old hub: {:?}", twin.desired)
    })?;
    ensure(twin.reported.get("fan") == Some(&json!("on")), || {
        format!("the reported properties are not those of the old hub: {:?}", twin.reported)
    })?;
    context("telemetry", hub.send(Message::new("from the new hub")).await)?;
    let arrived = cloud.emulator.telemetry(OTHER_HUB).ok_or("no log")?.total();
    ensure(arrived == 1, || format!("{arrived} messages at the new hub"))
}

/// A device moves to another hub, and its reprovisioning policy does not migrate its data. The device then loses its
/// twin: at the new hub, it gets the initial twin of its enrollment.
pub(super) async fn a_reset_device_starts_with_the_initial_twin(cloud: Cloud, kind: TransportKind) -> Outcome {
    let policy = ReprovisionPolicy { update_hub_assignment: true, migrate_device_data: false };
    let (cloud, settings, old) = moving(cloud, kind, policy).await?;
    drop(old);
    let assignment = context("registering again", settings.provision().await)?;
    assigned(&assignment, OTHER_HUB, Substatus::DeviceDataReset)?;
    ensure(cloud.emulator.device(HUB, "dev-1").is_none(), || "the old hub still knows the device".into())?;
    let hub = arrive(&settings, &assignment).await?;
    let twin = context("reading", hub.twin().await)?;
    ensure(twin.desired.get("interval") == Some(&json!(15)), || {
        format!("the desired properties are not those of the enrollment: {:?}", twin.desired)
    })?;
    ensure(twin.reported.get("fan").is_none(), || format!("the reported properties are not empty: {:?}", twin.reported))
}

/// With the reprovisioning policy `never`, a device keeps its hub, its twin and its connection.
pub(super) async fn policy_never_keeps_a_device_at_its_hub(cloud: Cloud, kind: TransportKind) -> Outcome {
    let policy = ReprovisionPolicy { update_hub_assignment: false, migrate_device_data: false };
    let (cloud, settings, hub) = moving(cloud, kind, policy).await?;
    let assignment = context("registering again", settings.provision().await)?;
    assigned(&assignment, HUB, Substatus::ReprovisionedToInitialAssignment)?;
    ensure(cloud.emulator.device(OTHER_HUB, "dev-1").is_none(), || "the other hub has the device".into())?;
    context("on the old connection", hub.send(Message::new("still here")).await)?;
    let twin = context("reading", hub.twin().await)?;
    ensure(twin.desired.get("interval") == Some(&json!(60)), || format!("{:?}", twin.desired))
}

/// A device registers again although its enrollment has not changed, and keeps its twin.
///
/// The substatus in the answer says that DPS has assigned the device to the same hub again. This must be so even if DPS
/// has no registration record any more, because an operator deleted it.
pub(super) async fn a_known_device_returns_to_its_hub(cloud: Cloud, kind: TransportKind) -> Outcome {
    let settings = cloud.device("dev-1").transport(kind);
    let first = context("the first time", settings.provision().await)?;
    assigned(&first, HUB, Substatus::InitialAssignment)?;
    let hub = arrive(&settings, &first).await?;
    context("reporting", hub.report(&json!({ "fan": "on" })).await)?;
    for forget in [false, true] {
        ensure(!forget || cloud.emulator.delete_registration("dev-1"), || "no record".into())?;
        let again = context("once more", settings.provision().await)?;
        assigned(&again, HUB, Substatus::ReprovisionedToInitialAssignment)?;
        let twin = context("reading", hub.twin().await)?;
        ensure(twin.reported.get("fan") == Some(&json!("on")), || format!("{:?}", twin.reported))?;
    }
    Ok(())
}

/// If the emulator does not support an allocation policy, the registration fails and the error says so.
pub(super) async fn an_unsupported_allocation_policy_fails_clearly(cloud: Cloud, kind: TransportKind) -> Outcome {
    for (policy, code, word) in
        [(AllocationPolicy::GeoLatency, 400_208, "geoLatency"), (AllocationPolicy::Custom, 400_207, "custom")]
    {
        let id = format!("dev-{word}");
        let enrolled = context("an enrollment", cloud.emulator.enrollment(&id).allocation(policy).create())?;
        match settings(&enrolled.vars()).transport(kind).provision().await {
            Err(ConnectError::Provision(ProvisionError::Rejected { state, .. })) => {
                ensure(state.error_code == Some(code), || format!("{word}: code {:?}", state.error_code))?;
                let message = state.error_message.unwrap_or_default();
                ensure(message.contains(word) && message.contains("does not emulate"), || {
                    format!("{word}: {message}")
                })?;
            }
            other => return Err(format!("{word}: {other:?}")),
        }
        ensure(cloud.emulator.device(HUB, &id).is_none(), || format!("{word}: the hub knows the device"))?;
    }
    Ok(())
}

/// If an enrollment gets new keys, DPS uses them immediately. The hub uses them after the next registration of the
/// device.
pub(super) async fn new_keys_take_effect_at_the_next_registration(cloud: Cloud, kind: TransportKind) -> Outcome {
    let old = context("an enrollment", cloud.emulator.enroll("dev-1"))?;
    let with_old = settings(&old.vars()).transport(kind);
    let first = context("with the old key", with_old.provision().await)?;
    let keys = cloud.emulator.enroll("spare").map(|it| (it.primary_key().clone(), it.secondary_key().clone()));
    let (primary, secondary) = context("other keys", keys)?;
    context("new keys", cloud.emulator.enrollment("dev-1").keys(&primary, &secondary).create())?;
    // The hub does not have the new keys yet.
    drop(arrive(&with_old, &first).await?);
    match with_old.provision().await {
        Err(error) if error.fault() == Fault::Credential => {}
        other => return Err(format!("the old key: {other:?}")),
    }
    for key in [primary, secondary] {
        let mut with_new = with_old.clone();
        with_new.credential = Credential::SharedKey(key);
        let assignment = context("with a new key", with_new.provision().await)?;
        let hub = arrive(&with_new, &assignment).await?;
        context("telemetry", hub.send(Message::new("x")).await)?;
    }
    let refused = arrive(&with_old, &first).await;
    ensure(refused.is_err(), || "the hub still accepts the old key".into())
}

/// A device has an individual enrollment and also belongs to a group. While the individual enrollment is disabled, the
/// device cannot register. After its deletion, the device can register through the group.
///
/// The hub keeps the device all the time.
pub(super) async fn a_disabled_enrollment_blocks_a_device_of_a_group(cloud: Cloud, kind: TransportKind) -> Outcome {
    let group = context("a group", cloud.emulator.enroll_group("line-7"))?;
    let settings = settings(&group.vars("pump-1")).transport(kind);
    context("through the group", settings.provision().await)?;
    let key = group.device_key("pump-1");
    context("blocking the device", cloud.emulator.enrollment("pump-1").keys(&key, &key).disabled().create())?;
    match settings.provision().await {
        Err(ConnectError::Provision(ProvisionError::Rejected { status: AssignmentStatus::Disabled, .. })) => {}
        other => return Err(format!("barred: {other:?}")),
    }
    ensure(cloud.emulator.device(HUB, "pump-1").is_some(), || "the hub has lost the device".into())?;
    context("deleting the enrollment", cloud.emulator.delete("pump-1"))?;
    context("through the group again", settings.provision().await)?;
    context("deleting the group", cloud.emulator.delete_group("line-7"))?;
    match settings.provision().await {
        Err(error) if error.fault() == Fault::Credential => {}
        other => return Err(format!("without the group: {other:?}")),
    }
    ensure(cloud.emulator.device(HUB, "pump-1").is_some(), || "the hub has lost the device".into())?;
    ensure(cloud.emulator.registration("pump-1").is_some(), || "the registration record is gone".into())
}

/// Starts an emulator with two hubs, and connects a device to the first hub. The device reports properties, and the
/// cloud changes the desired properties.
///
/// At the end, changes the enrollment: it now names the second hub.
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
        context("an enrollment", enrollment.reprovision(policy).initial_twin(twin).create())
    };
    let settings = settings(&enroll(HUB, 30)?.vars()).transport(kind);
    let assignment = context("the first time", settings.provision().await)?;
    assigned(&assignment, HUB, Substatus::InitialAssignment)?;
    let hub = arrive(&settings, &assignment).await?;
    context("reporting", hub.report(&json!({ "fan": "on" })).await)?;
    context("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "interval": 60 })))?;
    enroll(OTHER_HUB, 15)?;
    Ok((cloud, settings, hub))
}

fn assigned(assignment: &Assignment, hub: &str, substatus: Substatus) -> Outcome {
    let found = (assignment.hub.as_str(), assignment.state.substatus.as_ref());
    ensure(found == (hub, Some(&substatus)), || format!("{found:?} instead of {hub}, {substatus:?}"))
}

async fn arrive(settings: &Settings, assignment: &Assignment) -> Result<HubClient, String> {
    context("connecting", settings.hub_settings(assignment).connect().await)
}
