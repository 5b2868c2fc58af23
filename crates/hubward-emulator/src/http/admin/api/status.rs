//! `GET /api/status`: the emulator's addresses, and the number of devices, connections and so on.

use serde_json::{Value, json};

use crate::clock::timestamp;
use crate::http::admin::Admin;
use crate::ready::Ready;

pub(super) fn show(admin: &Admin) -> Value {
    let shared = &admin.shared;
    let (hubs, dps) = shared.store.read(|state| {
        let hubs: Vec<Value> = state
            .hubs
            .iter()
            .map(|(name, hub)| {
                let devices = hub.devices.keys().filter(|it| !it.contains('/')).count();
                json!({
                    "hub": hub.host,
                    "devices": devices,
                    "modules": hub.devices.len() - devices,
                    "connected": state.live.at_hub(name),
                    "telemetry": shared.logs.get(name).map_or(0, crate::hub::TelemetryLog::total),
                })
            })
            .collect();
        let dps = json!({
            "enrollments": state.individuals.len(),
            "enrollmentGroups": state.groups.len(),
            "registrations": state.records.len(),
        });
        (hubs, dps)
    });
    json!({
        "status": "ok",
        "emulator": Ready::new(&shared.info),
        "started": timestamp(admin.started),
        "time": timestamp(shared.clock.now()),
        "clockAheadSeconds": shared.clock.ahead().as_secs(),
        "state": { "onDisk": shared.store.disk().is_some() },
        "hubs": hubs,
        "dps": dps,
        "events": shared.journal.total(),
        "faults": shared.faults.count(),
    })
}
