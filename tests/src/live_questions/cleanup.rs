//! Records what a run creates, and deletes it at the end.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::cloud::{Cloud, DPS_VERSION, HUB_VERSION, Service};
use super::http::Reply;

/// Largest number of concurrent deletions.
const CONCURRENT_MAX: usize = 8;

/// A resource that a run may have created.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    /// The registration record of a device. The run must delete it before the enrollment of the device.
    Registration(String),
    Enrollment(String),
    Group(String),
    Device(String),
    /// A device at another hub: DPS assigned the device to a hub for which this run has no login.
    AtOtherHub(String, String),
}

/// The resources of a run. A question adds each resource before it creates the resource.
#[derive(Debug, Default)]
pub(super) struct CreatedResources(Mutex<BTreeSet<Resource>>);

impl CreatedResources {
    pub(super) fn add(&self, resource: Resource) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(resource);
    }

    fn take(&self) -> BTreeSet<Resource> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Resource {
    fn path(&self) -> String {
        match self {
            Self::Registration(id) => format!("/registrations/{id}?{DPS_VERSION}"),
            Self::Enrollment(id) => format!("/enrollments/{id}?{DPS_VERSION}"),
            Self::Group(id) => format!("/enrollmentGroups/{id}?{DPS_VERSION}"),
            Self::Device(id) | Self::AtOtherHub(id, _) => format!("/devices/{id}?{HUB_VERSION}"),
        }
    }

    fn service<'a>(&self, cloud: &'a Cloud) -> &'a Service {
        if matches!(self, Self::Device(_)) { &cloud.hub } else { &cloud.dps }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(id) => write!(f, "registration {id}"),
            Self::Enrollment(id) => write!(f, "enrollment {id}"),
            Self::Group(id) => write!(f, "enrollment group {id}"),
            Self::Device(id) => write!(f, "device {id}"),
            Self::AtOtherHub(id, hub) => write!(f, "device {id} at the hub {hub}"),
        }
    }
}

/// Deletes everything that the run may have created. For each resource that it could not delete, returns a text with
/// the resource and the reason.
pub(super) async fn delete_created(cloud: &Arc<Cloud>) -> Vec<String> {
    let (at_other_hubs, resources): (Vec<_>, Vec<_>) =
        cloud.created.take().into_iter().partition(|it| matches!(it, Resource::AtOtherHub(..)));
    let not_deleted = delete_all(cloud, resources).await;
    // Try a second time to delete these resources, even those for which the service answered that they do not exist.
    //
    // The reason: if the run was interrupted, it may not have waited for the answer to a request that creates a
    // resource. The service may then have created the resource only after the first attempt to delete it.
    let again = not_deleted.into_iter().map(|it| it.0).collect();
    let not_deleted = delete_all(cloud, again).await.into_iter().filter(|(_, reply)| reply.status != Some(404));
    let failed = not_deleted.map(|(resource, reply)| format!("{resource}: {}", reply.summary()));
    let of_others =
        at_other_hubs.iter().map(|it| format!("{it}: DPS assigned it to a hub that this run has no login for"));
    failed.chain(of_others).collect()
}

/// Deletes resources. Returns the resources that the service did not delete, with the service's answers.
async fn delete_all(cloud: &Arc<Cloud>, resources: Vec<Resource>) -> Vec<(Resource, Reply)> {
    let (mut running, mut not_deleted) = (JoinSet::new(), Vec::new());
    for resource in resources {
        if running.len() >= CONCURRENT_MAX {
            not_deleted.extend(running.join_next().await.and_then(Result::ok).flatten());
        }
        let cloud = cloud.clone();
        running.spawn(async move {
            let reply = delete(&cloud, &resource).await;
            (!reply.is_success()).then_some((resource, reply))
        });
    }
    while let Some(done) = running.join_next().await {
        not_deleted.extend(done.ok().flatten());
    }
    not_deleted
}

async fn delete(cloud: &Cloud, resource: &Resource) -> Reply {
    let service = resource.service(cloud);
    let headers = [("Authorization", cloud.owner_token(service)), ("If-Match", "*".to_owned())];
    cloud.request(&service.host, "DELETE", &resource.path(), &headers, b"").await
}
