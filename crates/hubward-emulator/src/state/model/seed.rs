//! A seed: the initial enrollments and devices, in the JSON of the services.

use std::collections::BTreeSet;
use std::time::SystemTime;

use hubward_proto::service::{EnrollmentGroup, EnrollmentSettings, IndividualEnrollment};
use serde::{Deserialize, Serialize};

use super::enroll_error::EnrollError;
use super::put::{Existing, Put};
use super::seed_error::SeedError;
use super::{
    CredentialPolicy, Entry, SeedAuthority, SeedDevice, SeedRegistration, State, enrollment, named_policy,
    seed_authorities, seed_devices, seed_records,
};

/// Enrollments and devices to apply to an emulator.
///
/// ```
/// let seed = hubward_emulator::Seed::from_json(r#"{
///     "enrollments": [{"registrationId": "dev-1", "attestation": {"type": "symmetricKey"}}],
///     "enrollmentGroups": [{"enrollmentGroupId": "line-7"}],
///     "devices": [{"deviceId": "pump-1", "hub": "localhost", "modules": [{"moduleId": "valve"}]}]
/// }"#)?;
/// assert_eq!((seed.enrollments.len(), seed.devices.len()), (1, 1));
/// # Ok::<(), hubward_emulator::SeedError>(())
/// ```
///
/// Missing keys are generated. Applying the same seed again changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Seed {
    /// Individual enrollments.
    pub enrollments: Vec<IndividualEnrollment>,
    /// Enrollment groups.
    pub enrollment_groups: Vec<EnrollmentGroup>,
    /// CA certificates of DPS and the hubs. Enrollment groups can name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificate_authorities: Vec<SeedAuthority>,
    /// Credential policies. Enrollments can name them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credential_policies: Vec<CredentialPolicy>,
    /// Devices of the hubs, whether they registered with DPS or not.
    pub devices: Vec<SeedDevice>,
    /// Registration records of devices.
    pub registrations: Vec<SeedRegistration>,
}

impl Seed {
    /// Parses the JSON.
    ///
    /// # Errors
    /// [`SeedError::Json`] with line and column.
    pub fn from_json(text: &str) -> Result<Self, SeedError> {
        // Do not use the message of the parser: the message may repeat a value of the file, and some values are keys.
        serde_json::from_str(text).map_err(|problem| SeedError::Json {
            line: problem.line(),
            column: problem.column(),
            what: match problem.classify() {
                serde_json::error::Category::Data => "the JSON does not have the structure of a seed",
                _ => "the text is not valid JSON",
            },
        })
    }
}

/// The result of applying a seed. It counts enrollments, groups, devices, modules and records together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SeedReport {
    /// Number of objects created.
    pub created: usize,
    /// Number of existing objects updated.
    pub updated: usize,
    /// Number of existing objects that already equal the seed.
    pub unchanged: usize,
}

/// Applies the whole seed, or nothing if the seed contains an error. Creates or replaces enrollments and groups.
///
/// If a device already exists, replaces only its keys, because devices and operators may have changed its other values.
/// If a record already exists, does not change the record, for the same reason.
pub(crate) fn apply(state: &mut State, seed: &Seed, now: SystemTime) -> Result<SeedReport, SeedError> {
    put(state, seed, Existing::Keep, now)
}

/// Applies the whole seed, or nothing if the seed contains an error. If an object already exists, replaces all values
/// of the object that a seed can contain.
///
/// A group may name a CA certificate that does not exist, because an export can contain such a group.
pub(crate) fn import(state: &mut State, seed: &Seed, now: SystemTime) -> Result<SeedReport, SeedError> {
    put(state, seed, Existing::Replace, now)
}

fn put(state: &mut State, seed: &Seed, existing: Existing, now: SystemTime) -> Result<SeedReport, SeedError> {
    let mut report = SeedReport::default();
    let authorities = seed_authorities::check(state, &seed.certificate_authorities, now)?;
    authorities.iter().for_each(|(_, _, put)| report.count(*put));
    let names: BTreeSet<&str> = authorities.iter().map(|(key, ..)| key.as_str()).collect();
    let policies: Vec<&str> = seed.credential_policies.iter().map(|it| it.name.as_str()).collect();
    seed.credential_policies.iter().try_for_each(CredentialPolicy::check)?;
    state.credential_policies.check_room(
        policies.iter().map(|it| it.to_ascii_lowercase()).collect::<BTreeSet<_>>().iter().map(|it| &**it),
    )?;
    let mut individuals = Vec::new();
    for model in &seed.enrollments {
        named_policy(&state.credential_policies, &policies, &model.registration_id, &model.settings)?;
        linked(state, &model.registration_id, &model.settings)?;
        let before = state.individuals.get(&model.registration_id.to_ascii_lowercase());
        individuals.extend(changed(&mut report, enrollment::complete(model.clone(), before, now)?));
    }
    let mut groups = Vec::new();
    for model in &seed.enrollment_groups {
        named_policy(&state.credential_policies, &policies, &model.enrollment_group_id, &model.settings)?;
        linked(state, &model.enrollment_group_id, &model.settings)?;
        let before = state.groups.get(&model.enrollment_group_id.to_ascii_lowercase());
        let group = enrollment::complete(model.clone(), before, now)?;
        if existing == Existing::Keep {
            let before = before.map(|it| &it.model.settings);
            named_authorities(state, &names, &model.enrollment_group_id, &group.0.model.settings, before)?;
        }
        groups.extend(changed(&mut report, group));
    }
    let devices = seed_devices::check(state, &seed.devices, existing, now)?;
    devices.puts().for_each(|put| report.count(put));
    let records = seed_records::check(state, &seed.registrations, existing)?;
    records.iter().for_each(|(_, _, put)| report.count(*put));
    devices.put(state);
    for (key, authority, put) in authorities {
        if put != Put::Unchanged {
            state.authorities.insert(key, authority);
        }
    }
    for policy in &seed.credential_policies {
        let key = policy.name.to_ascii_lowercase();
        let put = match state.credential_policies.get(&key) {
            None => Put::Created,
            Some(before) if before == policy => Put::Unchanged,
            Some(_) => Put::Updated,
        };
        report.count(put);
        if put != Put::Unchanged {
            state.credential_policies.insert(key, policy.clone());
        }
    }
    for (id, record, put) in records {
        if put != Put::Unchanged {
            state.records.insert(id, record);
        }
    }
    for entry in individuals {
        state.individuals.insert(entry.model.registration_id.to_ascii_lowercase(), entry);
    }
    for entry in groups {
        state.groups.insert(entry.model.enrollment_group_id.to_ascii_lowercase(), entry);
    }
    Ok(report)
}

/// Counts an enrollment. Returns the enrollment if it must be stored.
fn changed<M>(report: &mut SeedReport, (entry, put): (Entry<M>, Put)) -> Option<Entry<M>> {
    report.count(put);
    (put != Put::Unchanged).then_some(entry)
}

impl SeedReport {
    const fn count(&mut self, put: Put) {
        match put {
            Put::Created => self.created += 1,
            Put::Updated => self.updated += 1,
            Put::Unchanged => self.unchanged += 1,
        }
    }
}

/// Returns an error if the settings contain a hub that the emulator does not have.
pub(crate) fn linked(state: &State, id: &str, settings: &EnrollmentSettings) -> Result<(), EnrollError> {
    let named = settings.iot_hubs.iter().flatten().chain(&settings.iot_hub_host_name);
    for hub in named {
        if !state.hubs.contains_key(&hub.to_ascii_lowercase()) {
            return Err(EnrollError::UnknownHub { id: id.to_owned(), hub: hub.clone() });
        }
    }
    Ok(())
}

/// Returns an error if the settings name a CA certificate that exists neither in the emulator nor in `also` (names in
/// lower case).
///
/// Ignores the names that the existing enrollment `before` has already: a CA certificate can be deleted while a group
/// names it, and the group can still be updated.
///
/// Source: `[guess]`
pub(crate) fn named_authorities(
    state: &State,
    also: &BTreeSet<&str>,
    id: &str,
    settings: &EnrollmentSettings,
    before: Option<&EnrollmentSettings>,
) -> Result<(), EnrollError> {
    let kept: Vec<&String> = before.into_iter().flat_map(authority_names).collect();
    for name in authority_names(settings).filter(|it| !it.is_empty()) {
        let key = name.to_ascii_lowercase();
        let is_known = state.authorities.contains_key(&key) || also.contains(key.as_str());
        if !is_known && !kept.iter().any(|it| it.eq_ignore_ascii_case(name)) {
            return Err(EnrollError::UnknownAuthority { id: id.to_owned(), name: name.clone() });
        }
    }
    Ok(())
}

/// The names of CA certificates in the settings.
fn authority_names(settings: &EnrollmentSettings) -> impl Iterator<Item = &String> {
    let references = settings.attestation.as_ref().and_then(|it| it.x509.as_ref()?.ca_references.as_ref());
    references.into_iter().flat_map(|it| [&it.primary, &it.secondary]).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = r#"{"enrollments": [{"registrationId": "Dev-1", "iotHubs": ["LOCALHOST"]}],
        "enrollmentGroups": [{"enrollmentGroupId": "g"}]}"#;

    #[test]
    fn applying_twice_changes_nothing() {
        let mut state = State::new(["localhost"]);
        let seed = Seed::from_json(SEED).expect("a seed");
        let report = apply(&mut state, &seed, SystemTime::UNIX_EPOCH).expect("applies");
        assert_eq!(report, SeedReport { created: 2, ..SeedReport::default() });
        let key = state.individuals["dev-1"].proof.clone();
        let report = apply(&mut state, &seed, SystemTime::UNIX_EPOCH).expect("applies");
        assert_eq!(report, SeedReport { unchanged: 2, ..SeedReport::default() });
        assert_eq!(state.individuals["dev-1"].proof, key);
    }

    #[test]
    fn applies_the_whole_seed_or_nothing() {
        let mut state = State::new(["elsewhere"]);
        let text = SEED.replace("[{\"registrationId\"", "[{\"registrationId\": \"ok\"}, {\"registrationId\"");
        let seed = Seed::from_json(&text).expect("a seed");
        let error = apply(&mut state, &seed, SystemTime::UNIX_EPOCH).expect_err("an unlinked hub");
        assert_eq!(
            error,
            SeedError::Enrollment(EnrollError::UnknownHub { id: "Dev-1".into(), hub: "LOCALHOST".into() })
        );
        assert!(state.individuals.is_empty());
    }

    #[test]
    fn a_group_may_name_an_authority_of_the_same_seed() {
        let certificate = crate::lab::root("root").certificate.to_pem().replace('\n', "\\n");
        let group = r#""enrollmentGroups": [{"enrollmentGroupId": "g", "attestation": {"type": "x509",
            "x509": {"caReferences": {"primary": "ROOT-1"}}}}]"#;
        let authority = |name: &str, is_verified: bool| {
            format!(r#"{{"name": "{name}", "certificate": "{certificate}", "isVerified": {is_verified}}}"#)
        };
        let seed = |authorities: &str| {
            Seed::from_json(&format!(r#"{{{group}, "certificateAuthorities": [{authorities}]}}"#)).expect("a seed")
        };
        let mut state = State::new(["localhost"]);
        let error = apply(&mut state, &seed(""), SystemTime::UNIX_EPOCH).expect_err("no such authority");
        let unknown = EnrollError::UnknownAuthority { id: "g".into(), name: "ROOT-1".into() };
        assert_eq!(error, SeedError::Enrollment(unknown));
        for (authorities, (created, updated, unchanged)) in [
            (authority("root-1", true), (2, 0, 0)),
            (authority("root-1", true), (0, 0, 2)),
            (authority("root-1", false), (0, 1, 1)),
        ] {
            let report = apply(&mut state, &seed(&authorities), SystemTime::UNIX_EPOCH).expect("applies");
            assert_eq!(report, SeedReport { created, updated, unchanged });
        }
        let many: Vec<_> = (0..25).map(|it| authority(&format!("a{it}"), true)).collect();
        let error = apply(&mut state, &seed(&many.join(",")), SystemTime::UNIX_EPOCH).expect_err("26 authorities");
        assert!(matches!(error, SeedError::Authority(_)), "{error:?}");
        assert_eq!(state.authorities.len(), 1, "nothing is applied");
        let error = apply(&mut state, &seed(&authority("a b", true)), SystemTime::UNIX_EPOCH).expect_err("its name");
        assert!(matches!(error, SeedError::Authority(_)), "{error:?}");
    }

    #[test]
    fn a_group_without_its_authority_can_be_imported_and_seeded_again() {
        let seed = |names: &str| {
            let group = format!(
                r#"{{"enrollmentGroups": [{{"enrollmentGroupId": "g", "attestation": {{"type": "x509",
                    "x509": {{"caReferences": {names}}}}}}}]}}"#
            );
            Seed::from_json(&group).expect("a seed")
        };
        let one = seed(r#"{"primary": "deleted"}"#);
        let mut state = State::new(["localhost"]);
        import(&mut state, &one, SystemTime::UNIX_EPOCH).expect("an export can contain this group");
        let report = apply(&mut state, &one, SystemTime::UNIX_EPOCH).expect("the group has this name already");
        assert_eq!(report, SeedReport { unchanged: 1, ..SeedReport::default() });
        let two = seed(r#"{"primary": "DELETED", "secondary": "new"}"#);
        let error = apply(&mut state, &two, SystemTime::UNIX_EPOCH).expect_err("a new name");
        let unknown = EnrollError::UnknownAuthority { id: "g".into(), name: "new".into() };
        assert_eq!(error, SeedError::Enrollment(unknown));
    }

    #[test]
    fn an_error_has_line_and_column_but_no_content() {
        for (text, expected) in [
            ("{\n\"enrollments\": [}", "the seed cannot be read at line 2, column 17: the text is not valid JSON"),
            (
                r#"{"enrollments": [{"registrationId": "d", "attestation": "c2VjcmV0"}]}"#,
                "the seed cannot be read at line 1, column 67: the JSON does not have the structure of a seed",
            ),
            (
                r#"{"enrolments": []}"#,
                "the seed cannot be read at line 1, column 13: the JSON does not have the structure of a seed",
            ),
        ] {
            assert_eq!(Seed::from_json(text).expect_err(text).to_string(), expected);
        }
    }
}
