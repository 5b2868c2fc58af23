//! What a run has created, and deleting it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::cloud::{Cloud, DPS_VERSION, HUB_VERSION, Service};
use super::http::Reply;

/// Deletions at a time.
const AT_A_TIME: usize = 8;

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
    let (elsewhere, things): (Vec<_>, Vec<_>) =
        cloud.ledger.take().into_iter().partition(|it| matches!(it, Thing::Elsewhere(..)));
    let not_deleted = delete_all(cloud, things).await;
    // After an interruption, a service may still create something that was asked for before. So what was not
    // there is looked for again, beside what failed.
    let again = not_deleted.into_iter().map(|it| it.0).collect();
    let not_deleted = delete_all(cloud, again).await.into_iter().filter(|(_, reply)| reply.status != Some(404));
    let failed = not_deleted.map(|(thing, reply)| format!("{thing}: {}", reply.summary()));
    let of_others = elsewhere.iter().map(|it| format!("{it}: DPS assigned it to a hub that this run has no login for"));
    failed.chain(of_others).collect()
}

/// Deletes these; gives those that were not deleted, with the answers.
async fn delete_all(cloud: &Arc<Cloud>, things: Vec<Thing>) -> Vec<(Thing, Reply)> {
    let (mut running, mut not_deleted) = (JoinSet::new(), Vec::new());
    for thing in things {
        if running.len() >= AT_A_TIME {
            not_deleted.extend(running.join_next().await.and_then(Result::ok).flatten());
        }
        let cloud = cloud.clone();
        running.spawn(async move {
            let reply = delete(&cloud, &thing).await;
            (!reply.is_success()).then_some((thing, reply))
        });
    }
    while let Some(done) = running.join_next().await {
        not_deleted.extend(done.ok().flatten());
    }
    not_deleted
}

async fn delete(cloud: &Cloud, thing: &Thing) -> Reply {
    let service = thing.service(cloud);
    let headers = [("Authorization", cloud.owner_token(service)), ("If-Match", "*".to_owned())];
    cloud.request(&service.host, "DELETE", &thing.path(), &headers, b"").await
}
