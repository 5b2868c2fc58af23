//! Clients that write to the emulator until the test kills it.

use std::time::Duration;

use fastrand::Rng;
use hubward::{HubClient, HubSettings, Message, Settings, TransportKind};
use hubward_emulator::{DEV_GROUP_KEY, SERVICE_RETRY_AFTER};
use hubward_sas::SharedKey;
use serde_json::json;
use tokio::task::JoinSet;

use super::ledger::{Kind, Ledger};
use super::process::Process;
use crate::cli::http::send;

/// The device that reports properties and sends telemetry.
pub(super) const DEVICE: &str = "sender";

/// The device's key.
const KEY: &str = "a2V5IG9mIGEgdGVzdCwgd29ydGggbm90aGluZyBhdCBhbGwuLi4=";

/// Number of messages that one device gets. It is lower than the limit of a device's queue. So the queue has room for
/// one more message, which an emulator may have stored before the kill without acknowledging it.
pub(super) const MESSAGES: u64 = 40;

/// Maximum time for one registration. Without this limit, the client would keep retrying after the test has killed the
/// emulator.
const PROVISIONING_LIMIT: Duration = SERVICE_RETRY_AFTER.saturating_mul(10);

/// Creates the devices that the writers need, and starts the writers.
pub(super) async fn spawn(process: &Process, ledger: &Ledger, rng: &mut Rng) -> JoinSet<()> {
    let admin = process.admin();
    let key = json!({ "type": "sas", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } });
    let device = json!({ "devices": [{ "deviceId": DEVICE, "hub": "localhost", "authentication": key }] });
    // Import the device only in the first round, because a second import would reset its reported properties.
    if ledger.acknowledged() == 0 {
        let (status, report) = send(&admin, "POST /api/import", "", Some(&device)).await.expect("a response");
        assert_eq!(status, 200, "{report}");
    }
    let mut writers = JoinSet::new();
    for number in 0..2 {
        writers.spawn(enrollments(admin.clone(), ledger.clone(), number, rng.fork()));
    }
    writers.spawn(twins(admin.clone(), ledger.clone()));
    writers.spawn(device_side(process.variables(), ledger.clone()));
    for (number, transport) in [TransportKind::Https, TransportKind::Mqtt].into_iter().enumerate() {
        writers.spawn(registrations(process.variables(), ledger.clone(), number, transport));
    }
    writers.spawn(messages(admin, ledger.clone()));
    writers
}

/// Ends the writers. If a writer has panicked because of an unexpected answer, panics with the same message.
pub(super) async fn end(mut writers: JoinSet<()>) {
    writers.abort_all();
    while let Some(ended) = writers.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Returns the value of an enrollment after its write with this number. Returns `None` if this write deletes the
/// enrollment.
pub(super) const fn enrollment_after(number: u64) -> Option<u64> {
    if number.is_multiple_of(4) { None } else { Some(number) }
}

async fn enrollments(admin: String, ledger: Ledger, writer: u32, mut rng: Rng) {
    loop {
        let id = format!("enrollment-{writer}-{}", rng.u8(..8));
        let before = enrollment_after(ledger.count(Kind::Enrollment, &id).acknowledged);
        let number = ledger.next(Kind::Enrollment, &id);
        let query = "api-version=2021-10-01";
        let answer = match enrollment_after(number) {
            Some(value) => {
                let body = json!({
                    "registrationId": id, "attestation": { "type": "symmetricKey" },
                    "initialTwin": { "tags": { "a": value }, "properties": { "desired": { "b": value } } },
                });
                let condition = if before.is_some() { "If-Match: *\r\n" } else { "" };
                send(&admin, &format!("PUT /dps/enrollments/{id}?{query}"), condition, Some(&body)).await
            }
            None => send(&admin, &format!("DELETE /dps/enrollments/{id}?{query}"), "", None).await,
        };
        let Ok((status, body)) = answer else { return };
        assert!(status == 200 || status == 204, "{id} {number}: {status} {body}");
        ledger.acknowledge(Kind::Enrollment, &id, None);
    }
}

async fn twins(admin: String, ledger: Ledger) {
    loop {
        let number = ledger.next(Kind::Twin, DEVICE);
        let values = json!({ "a": number, "b": number });
        let patch = json!({ "tags": values, "properties": { "desired": values } });
        let answer = send(&admin, &format!("PATCH /hubs/localhost/twins/{DEVICE}"), "", Some(&patch)).await;
        let Ok((status, twin)) = answer else { return };
        assert_eq!(status, 200, "{twin}");
        ledger.acknowledge(Kind::Twin, DEVICE, twin["version"].as_u64());
    }
}

/// A device that reports properties and sends telemetry at the same time.
async fn device_side(mut variables: Vec<(String, String)>, ledger: Ledger) {
    let login = format!("HostName=localhost;DeviceId={DEVICE};SharedAccessKey={KEY}");
    variables.push(("IOTHUB_DEVICE_CONNECTION_STRING".to_owned(), login));
    let settings = HubSettings::from_vars(|name| value(&variables, name)).expect("complete settings");
    let Ok(hub) = settings.clone().connect().await else { return };
    tokio::join!(reports(&hub, &ledger), telemetry(&hub, &ledger));
}

async fn reports(hub: &HubClient, ledger: &Ledger) {
    loop {
        let number = ledger.next(Kind::Reported, DEVICE);
        let Ok(reported) = hub.report(&json!({ "a": number, "b": { "c": number } })).await else { return };
        ledger.acknowledge(Kind::Reported, DEVICE, reported.version);
    }
}

async fn telemetry(hub: &HubClient, ledger: &Ledger) {
    loop {
        let number = ledger.next(Kind::Telemetry, DEVICE);
        let message = Message::new(number.to_string()).property("n", number.to_string());
        if hub.send(message).await.is_err() {
            return;
        }
        ledger.acknowledge(Kind::Telemetry, DEVICE, None);
    }
}

/// Returns the registration ID that a writer uses in its registration with this number.
pub(super) fn registration_id(writer: &str, number: u64) -> String {
    format!("{writer}-{number}")
}

async fn registrations(mut variables: Vec<(String, String)>, ledger: Ledger, number: usize, transport: TransportKind) {
    let writer = format!("device-{number}");
    let group = SharedKey::from_base64(DEV_GROUP_KEY).expect("a key");
    loop {
        let number = ledger.next(Kind::Registration, &writer);
        let id = registration_id(&writer, number);
        let key = group.derive(&id).expose_base64().to_string();
        variables.retain(|(name, _)| name != "PROVISIONING_REGISTRATION_ID" && name != "PROVISIONING_SYMMETRIC_KEY");
        variables.push(("PROVISIONING_REGISTRATION_ID".to_owned(), id));
        variables.push(("PROVISIONING_SYMMETRIC_KEY".to_owned(), key));
        let settings = Settings::from_vars(|name| value(&variables, name)).expect("complete settings");
        let provisioned = tokio::time::timeout(PROVISIONING_LIMIT, settings.transport(transport).provision()).await;
        let Ok(Ok(_)) = provisioned else { return };
        ledger.acknowledge(Kind::Registration, &writer, None);
    }
}

/// Returns the ID of the device that receives the message with this number.
pub(super) fn inbox(number: u64) -> String {
    format!("inbox-{}", number / MESSAGES)
}

async fn messages(admin: String, ledger: Ledger) {
    loop {
        let number = ledger.next(Kind::Message, "inboxes");
        let inbox = inbox(number);
        let device = json!({ "devices": [{ "deviceId": inbox, "hub": "localhost" }] });
        let Ok((status, report)) = send(&admin, "POST /api/import", "", Some(&device)).await else { return };
        assert_eq!(status, 200, "{report}");
        let message =
            json!({ "body": "x".repeat(1000), "messageId": number.to_string(), "timeToLiveInSeconds": 100_000 });
        let answer = send(&admin, &format!("POST /messages/localhost/{inbox}"), "", Some(&message)).await;
        let Ok((status, report)) = answer else { return };
        assert!(status < 300, "{number}: {status} {report}");
        ledger.acknowledge(Kind::Message, "inboxes", None);
    }
}

fn value(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone())
}
