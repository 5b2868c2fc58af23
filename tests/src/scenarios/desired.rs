//! Desired properties.

use hubward::TransportKind;
use hubward::twin::DesiredProperties;
use serde_json::{Map, Value, json};

use super::twin::{cut_and_come_back, desired_at};
use crate::cloud::{Cloud, HUB};
use crate::scenario::{Outcome, context, ensure};

/// The first state of each receiver is the current desired properties.
pub(super) async fn desired_properties_start_with_the_current_state(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.hub_device("dev-1", kind);
    let expected = json!({ "fan": { "speed": 3 }, "note": "é" });
    let version = context("a change", cloud.emulator.patch_desired(HUB, "dev-1", expected.clone()))?;
    let hub = device.connect().await?;
    let mut desired = context("following", hub.desired())?;
    let first = context("the first", desired.changed().await)?;
    ensure(first.version == version && json!(first.values) == expected, || format!("{first:?}"))?;
    ensure(desired.latest() == Some(first.clone()), || format!("{:?}", desired.latest()))?;
    let mut second = context("following twice", hub.desired())?;
    ensure(second.changed().await.is_ok_and(|it| it == first), || {
        "a second receiver does not start with the same state".into()
    })?;
    let read = context("reading", hub.twin().await)?;
    ensure(read.desired == first, || format!("{read:?}"))
}

/// The client merges each change into the previous state, and delivers the merged state. In a change, `null` removes a
/// member. If the cloud replaces all desired properties, the client delivers only the new ones.
pub(super) async fn desired_changes_are_delivered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut desired = context("following", hub.desired())?;
    let first = context("the first", desired.changed().await)?;
    ensure(first.version == 1 && first.values.is_empty(), || format!("{first:?}"))?;
    let mut other = desired.clone();
    for (number, (patch, expected)) in [
        (json!({ "a": 1, "b": { "c": 1, "d": 2 } }), json!({ "a": 1, "b": { "c": 1, "d": 2 } })),
        (json!({ "a": null, "b": { "c": null } }), json!({ "b": { "d": 2 } })),
        (json!({ "b": [1, { "x": 2 }], "温": "🌡" }), json!({ "b": [1, { "x": 2 }], "温": "🌡" })),
    ]
    .into_iter()
    .enumerate()
    {
        let version = context("a change", cloud.emulator.patch_desired(HUB, "dev-1", patch))?;
        ensure(version == number as u64 + 2, || format!("version {version}"))?;
        for receiver in [&mut desired, &mut other] {
            let state = context("a change", receiver.changed().await)?;
            ensure(state.version == version && json!(state.values) == expected, || format!("{state:?}"))?;
        }
    }
    let version = context("a replacement", cloud.emulator.replace_desired(HUB, "dev-1", json!({ "new": true })))?;
    let state = context("a replacement", desired.changed().await)?;
    ensure(state.version == version && json!(state.values) == json!({ "new": true }), || format!("{state:?}"))?;
    // When the device reports properties, the desired properties do not change.
    context("reporting", hub.report(&json!({ "a": 1 })).await)?;
    ensure(desired.latest() == Some(state), || format!("{:?}", desired.latest()))
}

/// Some changes happen while the client is disconnected. After the client has reconnected, it delivers the new state,
/// which contains all of these changes. The application does not have to ask for it.
pub(super) async fn desired_changes_while_offline_are_delivered(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut desired = context("following", hub.desired())?;
    context("the first", desired.changed().await)?;
    cloud.block_connections(kind);
    let mut state = hub.state();
    ensure(cloud.emulator.disconnect_device(HUB, "dev-1"), || "not connected".into())?;
    context("the loss", state.wait_for(|it| !it.is_connected()).await)?;
    let mut version = 0;
    for patch in [json!({ "a": 1, "b": 1 }), json!({ "a": null }), json!({ "c": { "d": 1 } })] {
        version = context("a change", cloud.emulator.patch_desired(HUB, "dev-1", patch))?;
    }
    cloud.unblock_connections();
    let found = context("the missed changes", desired.changed().await)?;
    ensure(found.version == version, || format!("{found:?} instead of version {version}"))?;
    ensure(json!(found.values) == json!({ "b": 1, "c": { "d": 1 } }), || format!("{found:?}"))?;
    // Changes after the reconnect arrive too.
    let version = context("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "e": 1 })))?;
    let found = context("a change", desired.changed().await)?;
    ensure(found.version == version && found.get("e") == Some(&json!(1)), || format!("{found:?}"))
}

/// The test makes a hundred changes and disconnects the client at random points.
///
/// * The client must deliver the last change.
/// * The versions that it delivers must never decrease.
/// * Each delivered state must be equal to the cloud's state with the same version.
pub(super) async fn a_hundred_changes_around_disconnects(cloud: Cloud, kind: TransportKind) -> Outcome {
    for seed in [1, 2] {
        let id = format!("dev-{seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let hub = cloud.hub_device(&id, kind).connect().await?;
        let mut desired = context("following", hub.desired())?;
        context("the first", desired.changed().await)?;
        let reader = tokio::spawn(seen_until(desired, 101));
        // `history[version]` contains the desired properties with this version. No change contains a nested object, so
        // the test does not have to merge: it inserts or removes a member.
        let (mut expected, mut history, mut offline) = (Map::new(), vec![Map::new(); 2], false);
        for number in 0..100 {
            match random.u8(0..10) {
                0 | 1 => drop(cloud.emulator.disconnect_device(HUB, &id)),
                2 if !offline => {
                    cloud.block_connections(kind);
                    cloud.emulator.disconnect_device(HUB, &id);
                    offline = true;
                }
                3 | 4 if offline => {
                    cloud.unblock_connections();
                    offline = false;
                }
                5 if !offline => context("reconnecting", hub.connected().await)?,
                _ => {}
            }
            let name = format!("k{}", random.u8(0..8));
            let value = if random.bool() { json!(number) } else { Value::Null };
            match &value {
                Value::Null => drop(expected.remove(&name)),
                other => drop(expected.insert(name.clone(), other.clone())),
            }
            let version = context("a change", cloud.emulator.patch_desired(HUB, &id, json!({ name: value })))?;
            ensure(version == number + 2, || format!("version {version} after {number} changes"))?;
            history.push(expected.clone());
            tokio::task::yield_now().await;
        }
        cloud.unblock_connections();
        let seen = reader.await.map_err(|problem| problem.to_string())??;
        ensure(seen.windows(2).all(|it| it[0].0 < it[1].0), || {
            format!("seed {seed}: versions {:?}", seen.iter().map(|it| it.0).collect::<Vec<_>>())
        })?;
        ensure(seen.last().is_some_and(|it| it.0 == 101), || {
            format!("seed {seed}: the last state is {:?}", seen.last())
        })?;
        for (version, values) in &seen {
            let expected = &history[usize::try_from(*version).unwrap_or_default()];
            ensure(values == expected, || {
                format!("seed {seed}, version {version}: {values:?}, expected {expected:?}")
            })?;
        }
    }
    Ok(())
}

/// Collects all states up to the state with this version.
async fn seen_until(mut desired: DesiredProperties, last: u64) -> Result<Vec<(u64, Map<String, Value>)>, String> {
    let mut seen = Vec::new();
    loop {
        let state = context("a state", desired.changed().await)?;
        seen.push((state.version, state.values));
        if state.version >= last {
            return Ok(seen);
        }
    }
}

/// An application may read a receiver late. The receiver then returns the newest state, with all properties.
pub(super) async fn a_slow_reader_gets_the_newest_state(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.hub_device("dev-1", kind).connect().await?;
    let mut slow = context("following", hub.desired())?;
    let mut quick = slow.clone();
    context("the first", slow.changed().await)?;
    let mut version = 1;
    for number in 0..50 {
        let patch = json!({ format!("k{}", number % 5): number, "n": number });
        version = context("a change", cloud.emulator.patch_desired(HUB, "dev-1", patch))?;
        if number == 25 {
            cut_and_come_back(&cloud, &hub, "dev-1").await?;
        }
    }
    let newest = desired_at(&mut quick, version).await?;
    let found = context("the newest", slow.changed().await)?;
    ensure(found == newest, || format!("{found:?}"))?;
    let expected = json!({ "k0": 45, "k1": 46, "k2": 47, "k3": 48, "k4": 49, "n": 49 });
    ensure(json!(found.values) == expected, || format!("{found:?}"))
}
