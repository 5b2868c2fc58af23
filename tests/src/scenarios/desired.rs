//! Following what the cloud wants.

use hubward::TransportKind;
use hubward::twin::DesiredProperties;
use serde_json::{Map, Value, json};

use super::twin::{cut_and_come_back, desired_at};
use crate::cloud::{Cloud, HUB};
use crate::scenario::{Outcome, because, must};

/// The first thing a receiver gives is what is wanted now; later ones begin with it too.
pub(super) async fn desired_begins_with_the_current_state(cloud: Cloud, kind: TransportKind) -> Outcome {
    let device = cloud.known("dev-1", kind);
    let wanted = json!({ "fan": { "speed": 3 }, "note": "é" });
    let version = because("a change", cloud.emulator.patch_desired(HUB, "dev-1", wanted.clone()))?;
    let hub = device.connect().await?;
    let mut desired = because("following", hub.desired())?;
    let first = because("the first", desired.changed().await)?;
    must(first.version == version && json!(first.values) == wanted, || format!("{first:?}"))?;
    must(desired.latest() == Some(first.clone()), || format!("{:?}", desired.latest()))?;
    let mut second = because("following twice", hub.desired())?;
    must(second.changed().await.is_ok_and(|it| it == first), || "a second receiver begins with it too".into())?;
    let read = because("reading", hub.twin().await)?;
    must(read.desired == first, || format!("{read:?}"))
}

/// Each change comes by itself, merged into what was there: `null` removes, a replacement replaces.
pub(super) async fn desired_changes_come_by_themselves(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut desired = because("following", hub.desired())?;
    let first = because("the first", desired.changed().await)?;
    must(first.version == 1 && first.values.is_empty(), || format!("{first:?}"))?;
    let mut other = desired.clone();
    for (number, (patch, expected)) in [
        (json!({ "a": 1, "b": { "c": 1, "d": 2 } }), json!({ "a": 1, "b": { "c": 1, "d": 2 } })),
        (json!({ "a": null, "b": { "c": null } }), json!({ "b": { "d": 2 } })),
        (json!({ "b": [1, { "x": 2 }], "温": "🌡" }), json!({ "b": [1, { "x": 2 }], "温": "🌡" })),
    ]
    .into_iter()
    .enumerate()
    {
        let version = because("a change", cloud.emulator.patch_desired(HUB, "dev-1", patch))?;
        must(version == number as u64 + 2, || format!("version {version}"))?;
        for receiver in [&mut desired, &mut other] {
            let state = because("a change", receiver.changed().await)?;
            must(state.version == version && json!(state.values) == expected, || format!("{state:?}"))?;
        }
    }
    let version = because("a replacement", cloud.emulator.replace_desired(HUB, "dev-1", json!({ "new": true })))?;
    let state = because("a replacement", desired.changed().await)?;
    must(state.version == version && json!(state.values) == json!({ "new": true }), || format!("{state:?}"))?;
    // Reports of the device's own are no news about what is wanted.
    because("reporting", hub.report(&json!({ "a": 1 })).await)?;
    must(desired.latest() == Some(state), || format!("{:?}", desired.latest()))
}

/// What changed while there was no connection is known after the reconnect, and nobody asked.
pub(super) async fn desired_missed_while_offline_arrives(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut desired = because("following", hub.desired())?;
    because("the first", desired.changed().await)?;
    cloud.lower_barrier(kind);
    let mut state = hub.state();
    must(cloud.emulator.disconnect_device(HUB, "dev-1"), || "not connected".into())?;
    because("the loss", state.wait_for(|it| !it.is_connected()).await)?;
    let mut version = 0;
    for patch in [json!({ "a": 1, "b": 1 }), json!({ "a": null }), json!({ "c": { "d": 1 } })] {
        version = because("a change", cloud.emulator.patch_desired(HUB, "dev-1", patch))?;
    }
    cloud.raise_barrier();
    let found = because("the missed changes", desired.changed().await)?;
    must(found.version == version, || format!("{found:?} instead of version {version}"))?;
    must(json!(found.values) == json!({ "b": 1, "c": { "d": 1 } }), || format!("{found:?}"))?;
    // And the next one is announced again.
    let version = because("a change", cloud.emulator.patch_desired(HUB, "dev-1", json!({ "e": 1 })))?;
    let found = because("a change", desired.changed().await)?;
    must(found.version == version && found.get("e") == Some(&json!(1)), || format!("{found:?}"))
}

/// A hundred changes around disconnects at random places: the last one arrives, versions never go
/// backwards, and every state is exactly what the cloud wanted at that version.
pub(super) async fn a_hundred_changes_around_disconnects(cloud: Cloud, kind: TransportKind) -> Outcome {
    for seed in [1, 2] {
        let id = format!("dev-{seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let hub = cloud.known(&id, kind).connect().await?;
        let mut desired = because("following", hub.desired())?;
        because("the first", desired.changed().await)?;
        let reader = tokio::spawn(seen_until(desired, 101));
        // What is wanted at each version, by a merge of one level that needs no library.
        let (mut wanted, mut history, mut offline) = (Map::new(), vec![Map::new(); 2], false);
        for number in 0..100 {
            match random.u8(0..10) {
                0 | 1 => drop(cloud.emulator.disconnect_device(HUB, &id)),
                2 if !offline => {
                    cloud.lower_barrier(kind);
                    cloud.emulator.disconnect_device(HUB, &id);
                    offline = true;
                }
                3 | 4 if offline => {
                    cloud.raise_barrier();
                    offline = false;
                }
                5 if !offline => because("coming back", hub.connected().await)?,
                _ => {}
            }
            let name = format!("k{}", random.u8(0..8));
            let value = if random.bool() { json!(number) } else { Value::Null };
            match &value {
                Value::Null => drop(wanted.remove(&name)),
                other => drop(wanted.insert(name.clone(), other.clone())),
            }
            let version = because("a change", cloud.emulator.patch_desired(HUB, &id, json!({ name: value })))?;
            must(version == number + 2, || format!("version {version} after {number} changes"))?;
            history.push(wanted.clone());
            tokio::task::yield_now().await;
        }
        cloud.raise_barrier();
        let seen = reader.await.map_err(|problem| problem.to_string())??;
        must(seen.windows(2).all(|it| it[0].0 < it[1].0), || {
            format!("seed {seed}: versions {:?}", seen.iter().map(|it| it.0).collect::<Vec<_>>())
        })?;
        must(seen.last().is_some_and(|it| it.0 == 101), || format!("seed {seed}: the end is {:?}", seen.last()))?;
        for (version, values) in &seen {
            let expected = &history[usize::try_from(*version).unwrap_or_default()];
            must(values == expected, || format!("seed {seed}, version {version}: {values:?}, wanted {expected:?}"))?;
        }
    }
    Ok(())
}

/// Every state up to a version.
async fn seen_until(mut desired: DesiredProperties, last: u64) -> Result<Vec<(u64, Map<String, Value>)>, String> {
    let mut seen = Vec::new();
    loop {
        let state = because("a state", desired.changed().await)?;
        seen.push((state.version, state.values));
        if state.version >= last {
            return Ok(seen);
        }
    }
}

/// A reader that looks away finds the newest state, whole, and no gap.
pub(super) async fn a_slow_reader_gets_the_newest(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = cloud.known("dev-1", kind).connect().await?;
    let mut slow = because("following", hub.desired())?;
    let mut quick = slow.clone();
    because("the first", slow.changed().await)?;
    let mut version = 1;
    for number in 0..50 {
        let patch = json!({ format!("k{}", number % 5): number, "n": number });
        version = because("a change", cloud.emulator.patch_desired(HUB, "dev-1", patch))?;
        if number == 25 {
            cut_and_come_back(&cloud, &hub, "dev-1").await?;
        }
    }
    let newest = desired_at(&mut quick, version).await?;
    let found = because("the newest", slow.changed().await)?;
    must(found == newest, || format!("{found:?}"))?;
    let expected = json!({ "k0": 45, "k1": 46, "k2": 47, "k3": 48, "k4": 49, "n": 49 });
    must(json!(found.values) == expected, || format!("{found:?}"))
}
