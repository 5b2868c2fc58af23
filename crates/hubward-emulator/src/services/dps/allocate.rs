//! Allocation policies: the choice of the hub for a device.

use hubward_proto::dps::error_code;
use hubward_proto::service::{AllocationPolicy, EnrollmentSettings};

use crate::state::choices::stable_hash;

/// Source: `[sdk]` azure-iot-sdk-c, prov_device_ll_client.c (`DPS_HUB_ERROR_NO_HUB`).
const NO_HUB: u32 = 400_208;

/// Source: `[sdk]` azure-sdk-for-c, provisioning parser tests.
const CUSTOM_FAILED: u32 = 400_207;

/// The reason why DPS cannot assign a hub. The registration fails with this code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoHub {
    pub(crate) code: u32,
    pub(crate) message: String,
}

/// Chooses one of the linked hubs. `linked` contains the sorted names of these hubs, in the original letter case.
///
/// Source: `[doc]` iot-dps/how-to-use-allocation-policies.md. `[guess]`: the hash function. Any function that
/// distributes devices evenly would also be correct.
pub(crate) fn allocate(registration_id: &str, settings: &EnrollmentSettings, linked: &[&str]) -> Result<String, NoHub> {
    let named: Vec<&str> = match (&settings.iot_hub_host_name, &settings.iot_hubs) {
        (Some(one), _) => vec![one],
        (None, Some(several)) if !several.is_empty() => several.iter().map(String::as_str).collect(),
        (None, _) => linked.to_vec(),
    };
    let candidates: Vec<&str> =
        named.into_iter().filter_map(|name| linked.iter().find(|it| it.eq_ignore_ascii_case(name)).copied()).collect();
    let no_hub = |code, message: String| Err(NoHub { code, message });
    if candidates.is_empty() {
        let meaning = error_code::meaning(NO_HUB).unwrap_or_default();
        return no_hub(NO_HUB, format!("No IoT hub is available for the device: {meaning}."));
    }
    let policy = match &settings.iot_hub_host_name {
        Some(_) => &AllocationPolicy::Static,
        None => settings.allocation_policy.as_ref().unwrap_or(&AllocationPolicy::Hashed),
    };
    match policy {
        AllocationPolicy::Static => Ok(candidates[0].to_owned()),
        AllocationPolicy::Hashed => {
            let at = stable_hash(&registration_id.to_ascii_lowercase()) % candidates.len() as u64;
            Ok(candidates[usize::try_from(at).unwrap_or_default()].to_owned())
        }
        AllocationPolicy::Custom => no_hub(
            CUSTOM_FAILED,
            "Custom allocation failed: the emulator does not emulate the allocation policy `custom`.".into(),
        ),
        other => no_hub(NO_HUB, format!("The emulator does not emulate the allocation policy `{other}`.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(policy: Option<AllocationPolicy>, hubs: &[&str]) -> EnrollmentSettings {
        let mut settings = EnrollmentSettings::symmetric_key();
        settings.allocation_policy = policy;
        settings.iot_hubs = Some(hubs.iter().map(|&it| it.to_owned()).collect());
        settings
    }

    #[test]
    fn follows_the_policy() {
        let linked = ["a.example", "B.example", "c.example"];
        let mut legacy = settings(Some(AllocationPolicy::Hashed), &[]);
        legacy.iot_hub_host_name = Some("c.example".into());
        for (settings, expected) in [
            (settings(Some(AllocationPolicy::Static), &["b.EXAMPLE", "a.example"]), Ok("B.example")),
            (settings(Some(AllocationPolicy::Static), &[]), Ok("a.example")),
            (settings(Some(AllocationPolicy::Static), &["gone.example", "c.example"]), Ok("c.example")),
            (settings(None, &["c.example"]), Ok("c.example")),
            (legacy, Ok("c.example")),
            (settings(None, &["gone.example"]), Err(400_208)),
            (settings(Some(AllocationPolicy::GeoLatency), &[]), Err(400_208)),
            (settings(Some(AllocationPolicy::Custom), &[]), Err(400_207)),
        ] {
            let got = allocate("d1", &settings, &linked).map_err(|it| it.code);
            assert_eq!(got, expected.map(str::to_owned), "{settings:?}");
        }
        assert_eq!(allocate("d1", &EnrollmentSettings::default(), &[]).map_err(|it| it.code), Err(400_208));
    }

    #[test]
    fn hashing_is_even_and_ignores_letter_case() {
        let linked = ["a", "b", "c"];
        let settings = settings(None, &[]);
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..3000 {
            let hub = allocate(&format!("Dev-{number}"), &settings, &linked).expect("a hub");
            assert_eq!(allocate(&format!("dev-{number}"), &settings, &linked).expect("a hub"), hub);
            *counts.entry(hub).or_insert(0) += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|it| (850..1150).contains(it)), "{counts:?}");
    }
}
