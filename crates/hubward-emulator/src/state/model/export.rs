//! Exports the state as a seed.

use hubward_proto::service::{Attestation, SymmetricKeys};

use super::development::{DEV_GROUP, is_dev_group};
use super::{
    Device, DeviceAuthentication, DeviceStatus, Entry, KeyPair, Model, Parts, Seed, SeedAuthentication, SeedAuthority,
    SeedDevice, SeedIssuance, SeedModule, SeedProperties, SeedRegistration, State,
};

/// Everything that a seed can contain, in the order of names.
pub(crate) fn export(state: &State) -> Seed {
    let groups = state.groups.values().filter(|it| it.model.id() != DEV_GROUP || !is_dev_group(it));
    Seed {
        enrollments: state.individuals.values().map(model).collect(),
        enrollment_groups: groups.map(model).collect(),
        credential_policies: state.credential_policies.values().cloned().collect(),
        certificate_authorities: state.authorities.values().map(SeedAuthority::of).collect(),
        devices: state
            .hubs
            .values()
            .flat_map(|hub| {
                let devices = hub.devices.iter().filter(|(id, _)| !id.contains('/'));
                devices.map(|(id, it)| {
                    let modules = hub.modules(id).into_iter().filter_map(|client_id| {
                        let (_, module_id) = client_id.split_once('/')?;
                        Some(module(module_id, hub.devices.get(&client_id)?))
                    });
                    SeedDevice { modules: modules.collect(), ..device(&hub.host, id, it) }
                })
            })
            .collect(),
        registrations: state.records.values().map(SeedRegistration::of).collect(),
    }
}

/// Returns an enrollment with its keys. Omits the members that the importing emulator will generate.
fn model<M: Model>(entry: &Entry<M>) -> M {
    let mut model = entry.model.clone();
    let settings = model.settings_mut();
    if let Some(it) = entry.proof.keys() {
        settings.attestation = Some(Attestation::symmetric_key(Some(keys(it))));
    }
    (settings.etag, settings.created_date_time_utc, settings.last_updated_date_time_utc) = (None, None, None);
    model
}

fn device(host: &str, id: &str, device: &Device) -> SeedDevice {
    let (tags, properties) = twin(device);
    SeedDevice {
        device_id: id.to_owned(),
        hub: Some(host.to_owned()),
        status: Some(if device.enabled { DeviceStatus::Enabled } else { DeviceStatus::Disabled }),
        status_reason: device.status_reason.clone(),
        authentication: authentication(device),
        issuance: device.issuance.as_ref().map(SeedIssuance::of),
        tags,
        properties,
        modules: Vec::new(),
    }
}

fn module(id: &str, module: &Device) -> SeedModule {
    let (tags, properties) = twin(module);
    SeedModule { module_id: id.to_owned(), authentication: authentication(module), tags, properties }
}

fn twin(device: &Device) -> (serde_json::Map<String, serde_json::Value>, SeedProperties) {
    let Parts { tags, desired, reported } = device.twin.parts();
    (tags, SeedProperties { desired, reported })
}

fn authentication(device: &Device) -> SeedAuthentication {
    let thumbprints = match &device.authentication {
        DeviceAuthentication::SelfSigned(it) => Some(it.to_model()),
        DeviceAuthentication::Sas(_) | DeviceAuthentication::CertificateAuthority => None,
    };
    SeedAuthentication {
        kind: Some(device.authentication.kind().to_owned()),
        symmetric_key: device.authentication.keys().map(keys),
        x509_thumbprint: thumbprints,
    }
}

fn keys(KeyPair { primary, secondary }: &KeyPair) -> SymmetricKeys {
    let text = |key: &hubward_sas::SharedKey| key.expose_base64().to_string();
    SymmetricKeys { primary_key: text(primary), secondary_key: text(secondary) }
}
