//! Starts a simulated device with an enrollment of its own.

use hubward_proto::service::IndividualEnrollment;

use super::cloud::Cloud;
use super::ready::Ready;
use super::simulated::{Enrolled, Refused};
use crate::state::model::{EnrollError, complete};

/// Starts a simulated device and returns its registration id. If it has no individual enrollment yet, creates one.
pub(crate) fn start(cloud: &Cloud, registration_id: Option<&str>) -> Result<String, Refused> {
    cloud.simulated.start(registration_id, cloud.clock.now(), |name| enroll(cloud, name))
}

fn enroll(cloud: &Cloud, name: &str) -> Result<Enrolled, EnrollError> {
    let key = name.to_ascii_lowercase();
    let known = cloud.store.read(|state| {
        let entry = state.individuals.get(&key)?;
        Some((entry.model.registration_id.clone(), entry.keys.primary.clone()))
    });
    let create = || {
        let now = cloud.clock.now();
        cloud.store.change(|state| {
            let (entry, _) = complete(IndividualEnrollment::new(name), state.individuals.get(&key), now)?;
            let made = (entry.model.registration_id.clone(), entry.keys.primary.clone());
            state.individuals.insert(key.clone(), entry);
            Ok::<_, EnrollError>(made)
        })
    };
    let (registration_id, primary) = known.map_or_else(create, Ok)?;
    let vars = Ready::new(&cloud.info).vars(&registration_id, &primary);
    Ok((registration_id, vars))
}
