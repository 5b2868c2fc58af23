//! Starts a simulated device with an enrollment of its own.

use hubward_proto::service::IndividualEnrollment;
use hubward_sas::SharedKey;

use super::cloud::Cloud;
use super::ready::Ready;
use super::simulated::{Enrolled, Refused};
use crate::state::model::{EnrollError, Entry, complete};

/// Starts a simulated device and returns its registration id. If it has no individual enrollment yet, creates one.
pub(crate) fn start(cloud: &Cloud, registration_id: Option<&str>) -> Result<String, Refused> {
    cloud.simulated.start(registration_id, cloud.clock.now(), |name| enroll(cloud, name))
}

fn enroll(cloud: &Cloud, name: &str) -> Result<Enrolled, EnrollError> {
    let key = name.to_ascii_lowercase();
    let known = cloud.store.read(|state| state.individuals.get(&key).map(made));
    let create = || {
        let now = cloud.clock.now();
        cloud.store.change(|state| {
            let (entry, _) = complete(IndividualEnrollment::new(name), state.individuals.get(&key), now)?;
            let made = made(&entry)?;
            state.individuals.insert(key.clone(), entry);
            Ok::<_, EnrollError>(made)
        })
    };
    let (registration_id, primary) = known.unwrap_or_else(create)?;
    let vars = Ready::new(&cloud.info).vars(&registration_id, &primary);
    Ok((registration_id, vars))
}

/// The registration id and the primary key of an enrollment. Simulated devices use symmetric keys only.
fn made(entry: &Entry<IndividualEnrollment>) -> Result<(String, SharedKey), EnrollError> {
    let id = entry.model.registration_id.clone();
    match entry.proof.keys() {
        Some(keys) => Ok((id, keys.primary.clone())),
        None => Err(EnrollError::NoKeys { id }),
    }
}
