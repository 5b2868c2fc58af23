//! Those who write, each until the emulator is gone.

use std::time::Duration;

use fastrand::Rng;
use hubward::{HubClient, HubSettings, Message, Settings, TransportKind};
use hubward_emulator::{DEV_GROUP_KEY, SERVICE_RETRY_AFTER};
use hubward_sas::SharedKey;
use serde_json::json;
use tokio::task::JoinSet;

use super::http::ask;
use super::ledger::{Kind, Ledger};
use super::process::Process;

/// The device that reports and sends.
pub(super) const DEVICE: &str = "sender";

/// Its key, and that of all the others here.
const KEY: &str = "a2V5IG9mIGEgdGVzdCwgd29ydGggbm90aGluZyBhdCBhbGwuLi4=";

/// How many messages wait for one device at most, with room for one that is not acknowledged.
pub(super) const MESSAGES: u64 = 40;

/// A client goes on asking an emulator that is gone.
const LONG: Duration = SERVICE_RETRY_AFTER.saturating_mul(10);

/// Starts them all. The devices they need are there afterwards.
pub(super) async fn spawn(process: &Process, ledger: &Ledger, rng: &mut Rng) -> JoinSet<()> {
    let admin = process.admin();
    let key = json!({ "type": "sas", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } });
    let device = json!({ "devices": [{ "deviceId": DEVICE, "hub": "localhost", "authentication": key }] });
    // Where it is there already this would undo what it has reported, and so it is asked for once.
    if ledger.acknowledged() == 0 {
        let (status, report) = ask(&admin, "POST /api/import", "", Some(&device)).await.expect("it runs");
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

/// Ends those who still run. One that was answered wrongly has panicked, and so does this.
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

/// What the `number`th write of an enrollment leaves behind: a value, or nothing.
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
                ask(&admin, &format!("PUT /dps/enrollments/{id}?{query}"), condition, Some(&body)).await
            }
            None => ask(&admin, &format!("DELETE /dps/enrollments/{id}?{query}"), "", None).await,
        };
        let Ok((status, body)) = answer else { return };
        assert!(status == 200 || status == 204, "{id} {number}: {status} {body}");
        ledger.done(Kind::Enrollment, &id, None);
    }
}

async fn twins(admin: String, ledger: Ledger) {
    loop {
        let number = ledger.next(Kind::Twin, DEVICE);
        let values = json!({ "a": number, "b": number });
        let patch = json!({ "tags": values, "properties": { "desired": values } });
        let answer = ask(&admin, &format!("PATCH /hubs/localhost/twins/{DEVICE}"), "", Some(&patch)).await;
        let Ok((status, twin)) = answer else { return };
        assert_eq!(status, 200, "{twin}");
        ledger.done(Kind::Twin, DEVICE, twin["version"].as_u64());
    }
}

/// A device: reports and messages, both at once.
async fn device_side(mut variables: Vec<(String, String)>, ledger: Ledger) {
    let login = format!("HostName=localhost;DeviceId={DEVICE};SharedAccessKey={KEY}");
    variables.push(("IOTHUB_DEVICE_CONNECTION_STRING".to_owned(), login));
    let settings = HubSettings::from_vars(|name| value(&variables, name)).expect("all is there");
    let Ok(hub) = hubward::connect_to_hub(&settings).await else { return };
    tokio::join!(reports(&hub, &ledger), telemetry(&hub, &ledger));
}

async fn reports(hub: &HubClient, ledger: &Ledger) {
    loop {
        let number = ledger.next(Kind::Reported, DEVICE);
        let Ok(reported) = hub.report(&json!({ "a": number, "b": { "c": number } })).await else { return };
        ledger.done(Kind::Reported, DEVICE, reported.version);
    }
}

async fn telemetry(hub: &HubClient, ledger: &Ledger) {
    loop {
        let number = ledger.next(Kind::Telemetry, DEVICE);
        let message = Message::new(number.to_string()).property("n", number.to_string());
        if hub.send(message).await.is_err() {
            return;
        }
        ledger.done(Kind::Telemetry, DEVICE, None);
    }
}

/// The id of the `number`th device of a writer that registers.
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
        let settings = Settings::from_vars(|name| value(&variables, name)).expect("all is there");
        let provisioned = tokio::time::timeout(LONG, hubward::provision(&settings.transport(transport))).await;
        let Ok(Ok(_)) = provisioned else { return };
        ledger.done(Kind::Registration, &writer, None);
    }
}

/// The device that the `number`th message is for.
pub(super) fn inbox(number: u64) -> String {
    format!("inbox-{}", number / MESSAGES)
}

async fn messages(admin: String, ledger: Ledger) {
    loop {
        let number = ledger.next(Kind::Message, "inboxes");
        let inbox = inbox(number);
        let device = json!({ "devices": [{ "deviceId": inbox, "hub": "localhost" }] });
        let Ok((status, report)) = ask(&admin, "POST /api/import", "", Some(&device)).await else { return };
        assert_eq!(status, 200, "{report}");
        let message =
            json!({ "body": "x".repeat(1000), "messageId": number.to_string(), "timeToLiveInSeconds": 100_000 });
        let answer = ask(&admin, &format!("POST /messages/localhost/{inbox}"), "", Some(&message)).await;
        let Ok((status, report)) = answer else { return };
        assert!(status < 300, "{number}: {status} {report}");
        ledger.done(Kind::Message, "inboxes", None);
    }
}

fn value(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone())
}
