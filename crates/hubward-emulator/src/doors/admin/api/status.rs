//! `GET /api/status`: returns the emulator's addresses, the number of devices and connections, and similar values.

use serde_json::{Value, json};

use crate::doors::admin::Admin;
use crate::services::ready::{DPS_NAME, Ready};
use crate::state::clock::timestamp;

pub(super) fn show(admin: &Admin) -> Value {
    let cloud = &admin.cloud;
    let (hubs, dps) = cloud.store.read(|state| {
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
                    "telemetry": cloud.logs.get(name).map_or(0, crate::state::telemetry::TelemetryLog::total),
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
        "emulator": Ready::new(&cloud.info),
        "dpsName": DPS_NAME,
        "started": timestamp(admin.started),
        "time": timestamp(cloud.clock.now()),
        "clockAheadSeconds": cloud.clock.ahead().as_secs(),
        "state": { "onDisk": cloud.store.disk().is_some() },
        "hubs": hubs,
        "dps": dps,
        "events": cloud.journal.total(),
        "faults": cloud.faults.count(),
    })
}
