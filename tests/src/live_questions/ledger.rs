//! What a run has created, and deleting it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::cloud::{Cloud, DPS_VERSION, HUB_VERSION, Service};
use super::http::Reply;

/// Something that a run may have created.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    /// The record of a device that registered; it goes before its enrollment.
    Registration(String),
    Enrollment(String),
    Group(String),
    Device(String),
    /// A device that DPS put into a hub that this run cannot reach.
    Elsewhere(String, String),
}

/// The list. A thing is written down before it is created.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeSet<Thing>>);

/// Deletions at a time.
const AT_A_TIME: usize = 8;

impl Ledger {
    pub(super) fn add(&self, thing: Thing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(thing);
    }

    fn take(&self) -> BTreeSet<Thing> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Thing {
    fn path(&self) -> String {
        match self {
            Self::Registration(id) => format!("/registrations/{id}?{DPS_VERSION}"),
            Self::Enrollment(id) => format!("/enrollments/{id}?{DPS_VERSION}"),
            Self::Group(id) => format!("/enrollmentGroups/{id}?{DPS_VERSION}"),
            Self::Device(id) | Self::Elsewhere(id, _) => format!("/devices/{id}?{HUB_VERSION}"),
        }
    }

    fn service<'a>(&self, cloud: &'a Cloud) -> &'a Service {
        if matches!(self, Self::Device(_)) { &cloud.hub } else { &cloud.dps }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(id) => write!(f, "registration {id}"),
            Self::Enrollment(id) => write!(f, "enrollment {id}"),
            Self::Group(id) => write!(f, "enrollment group {id}"),
            Self::Device(id) => write!(f, "device {id}"),
            Self::Elsewhere(id, hub) => write!(f, "device {id} at the hub {hub}"),
        }
    }
}

/// Deletes everything that the run may have created; says what could not be deleted, and why.
pub(super) async fn clean_up(cloud: &Arc<Cloud>) -> Vec<String> {
    let (mut running, mut problems) = (JoinSet::new(), Vec::new());
    for thing in cloud.ledger.take() {
        if matches!(thing, Thing::Elsewhere(..)) {
            problems.push(format!("{thing}: DPS assigned it to a hub that this run has no login for"));
            continue;
        }
        if running.len() >= AT_A_TIME {
            problems.extend(running.join_next().await.and_then(Result::ok).flatten());
        }
        let cloud = cloud.clone();
        running.spawn(async move {
            let reply = delete(&cloud, &thing).await;
            let is_gone = reply.is_success() || reply.status == Some(404);
            (!is_gone).then(|| format!("{thing}: {}", reply.summary()))
        });
    }
    while let Some(done) = running.join_next().await {
        problems.extend(done.ok().flatten());
    }
    problems
}

async fn delete(cloud: &Cloud, thing: &Thing) -> Reply {
    let service = thing.service(cloud);
    let headers = [("Authorization", cloud.owner_token(service)), ("If-Match", "*".to_owned())];
    cloud.request(&service.host, "DELETE", &thing.path(), &headers, b"").await
}
