//! Telemetry on disk: each message with its system properties.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hubward_proto::hub::{Message, PropertyBag};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::form::{framed, unframed};
use super::{Disk, Write};
use crate::state::telemetry::{LogWriter, Origin, Telemetry};

/// All values of [`Origin::scope`]: the kind of key that signed the sender's token. Only messages of tests have the
/// empty scope, because they have no sender that logged in.
const SCOPES: [&str; 4] = ["device", "module", "hub", ""];

/// Writes the telemetry log of a hub to disk.
#[derive(Debug)]
pub(crate) struct DiskLog {
    disk: Disk,
    /// The name of the hub in lower case.
    hub: Arc<str>,
}

impl DiskLog {
    pub(crate) fn new(disk: Disk, hub: &str) -> Self {
        Self { disk, hub: hub.into() }
    }

    fn before(&self, offset: u64) -> Write {
        Write::TelemetryBefore { hub: Arc::clone(&self.hub), offset }
    }
}

impl LogWriter for DiskLog {
    fn append(&self, telemetry: &Telemetry, total: &watch::Sender<u64>, gone_before: Option<u64>) {
        let hub = Arc::clone(&self.hub);
        let (offset, value) = (telemetry.offset, write(telemetry));
        let append = Write::Telemetry { hub, offset, value, total: total.clone() };
        self.disk.enqueue([append].into_iter().chain(gone_before.map(|it| self.before(it))));
    }

    fn forget_before(&self, first: u64) {
        self.disk.enqueue([self.before(first)]);
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    device: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    module: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    generation: Cow<'a, str>,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    x509: bool,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    model: Option<Cow<'a, str>>,
    /// Percent-encoded, as in a topic.
    #[serde(borrow)]
    bag: Cow<'a, str>,
    duplicate: bool,
    qos: u8,
}

fn write(telemetry: &Telemetry) -> Vec<u8> {
    let Telemetry { offset: _, device_id, module_id, enqueued_time, message, duplicate, qos, origin } = telemetry;
    let Origin { device_id: _, module_id: _, generation_id, scope, has_certificate, model_id } = &**origin;
    let head = Head {
        device: device_id.into(),
        module: module_id.as_deref().map(Cow::from),
        time: enqueued_time.into(),
        generation: generation_id.into(),
        scope: (*scope).into(),
        x509: *has_certificate,
        model: model_id.as_deref().map(Cow::from),
        bag: message.property_bag().into(),
        duplicate: *duplicate,
        qos: *qos,
    };
    framed(&head, &message.body)
}

/// Decodes the messages of a log in order.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The origin of the previous message. If the next message has the same origin, the messages share one value.
    origin: Arc<Origin>,
}

impl Reader {
    /// Decodes a message; `None` if the bytes are not a message.
    pub(super) fn read(&mut self, offset: u64, bytes: &[u8]) -> Option<Telemetry> {
        let (head, body) = unframed::<Head<'_>>(bytes)?;
        let Origin { device_id, module_id, generation_id, scope, has_certificate, model_id } = &*self.origin;
        let same = *device_id == head.device
            && module_id.as_deref() == head.module.as_deref()
            && *generation_id == head.generation
            && *scope == head.scope
            && *has_certificate == head.x509
            && model_id.as_deref() == head.model.as_deref();
        if !same {
            self.origin = Arc::new(Origin {
                device_id: head.device.into_owned(),
                module_id: head.module.map(Cow::into_owned),
                generation_id: head.generation.into_owned(),
                scope: SCOPES.into_iter().find(|it| *it == head.scope)?,
                has_certificate: head.x509,
                model_id: head.model.map(Cow::into_owned),
            });
        }
        let bag = if head.bag.is_empty() { PropertyBag::default() } else { PropertyBag::parse(&head.bag).ok()? };
        let message = Message::from_wire(Bytes::copy_from_slice(body), &bag);
        let telemetry = Telemetry::new(&self.origin, head.time.into_owned(), message);
        Some(Telemetry { offset, duplicate: head.duplicate, qos: head.qos, ..telemetry })
    }
}
