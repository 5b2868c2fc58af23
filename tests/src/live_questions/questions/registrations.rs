//! Question 3: how does DPS refuse a registration over HTTPS, and how does it answer a registration that it accepts?

use std::sync::Arc;
use std::time::Duration;

use hubward::SharedKey;

use crate::live_questions::asker::Asker;
use crate::live_questions::cleanup::Resource;
use crate::live_questions::cloud::in_an_hour;
use crate::live_questions::connection::Login;
use crate::live_questions::http::Reply;

const VERSION: &str = "api-version=2019-03-31";

/// Maximum number of polls for one registration.
const POLLS_MAX: usize = 60;

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let other_key = asker.key()?;
    let scope = asker.cloud.scope.clone();
    let id = asker.id("none");
    observe(&asker, "a foreign id scope", &register(&asker, "0ne00000000", &id, &id, &other_key, "").await);
    observe(&asker, "an id that nothing enrolls", &register(&asker, &scope, &id, &id, &other_key, "").await);

    let id = asker.id("off");
    let key = asker.enrollment(&id, ",\"provisioningStatus\":\"disabled\"").await?;
    observe(&asker, "a disabled enrollment", &register(&asker, &scope, &id, &id, &key, "").await);
    observe(&asker, "a disabled enrollment, wrong key", &register(&asker, &scope, &id, &id, &other_key, "").await);

    let id = asker.id("a");
    let key = asker.enrollment(&id, "").await?;
    asker.cloud.created.add(Resource::Device(id.clone()));
    asker.cloud.created.add(Resource::Registration(id.clone()));
    let other = asker.id("other");
    observe(&asker, "another id in the body", &register(&asker, &scope, &id, &other, &key, "").await);
    for (name, size) in [("a body of 70 KB", 70_000), ("a body of 130 KB", 130_000)] {
        let more = format!(",\"payload\":{{\"a\":\"{}\"}}", "x".repeat(size));
        let reply = register(&asker, &scope, &id, &id, &key, &more).await;
        observe(&asker, name, &reply);
        finish(&asker, &id, &key, reply).await;
    }
    for name in ["a registration", "the same registration again"] {
        let reply = register(&asker, &scope, &id, &id, &key, "").await;
        observe(&asker, name, &reply);
        let operation = reply.json()["operationId"].as_str().unwrap_or_default().to_owned();
        let location = reply.header("location").unwrap_or("absent").to_owned();
        let location = if operation.is_empty() { location } else { location.replace(&operation, "OPERATION") };
        asker.observe(format!("{name}: Location"), location);
        let result = finish(&asker, &id, &key, reply).await;
        asker.observe(format!("{name}: the result"), result);
    }
    Ok(())
}

/// Returns the MQTT login with which a device connects to DPS.
pub(super) fn login_at_dps(asker: &Asker, id: &str, key: &SharedKey) -> Login {
    let (host, scope) = (asker.cloud.device_dps.clone(), &asker.cloud.scope);
    let username = format!("{scope}/registrations/{id}/{VERSION}");
    let password = Some(token(asker, scope, id, key));
    Login { host, client_id: id.to_owned(), username, password, clean: true }
}

fn token(asker: &Asker, scope: &str, id: &str, key: &SharedKey) -> String {
    asker.cloud.token(key, &format!("{scope}/registrations/{id}"), Some("registration"), in_an_hour())
}

async fn register(asker: &Asker, scope: &str, id: &str, in_body: &str, key: &SharedKey, more: &str) -> Reply {
    let token = token(asker, scope, id, key);
    let path = format!("/{scope}/registrations/{id}/register?{VERSION}");
    let body = format!("{{\"registrationId\":\"{in_body}\"{more}}}");
    asker.ask_at(&asker.cloud.device_dps, "PUT", &path, Some(&token), &[], body.as_bytes()).await
}

fn observe(asker: &Asker, name: &str, reply: &Reply) {
    asker.observe_reply(name, reply);
    if let Some(status) = reply.json()["status"].as_str() {
        asker.observe(format!("{name}: the status in the body"), status);
    }
}

/// Polls until a registration has ended. Returns the result as text.
async fn finish(asker: &Asker, id: &str, key: &SharedKey, mut reply: Reply) -> String {
    let scope = &asker.cloud.scope;
    let operation = reply.json()["operationId"].as_str().unwrap_or_default().to_owned();
    for _ in 0..POLLS_MAX {
        if reply.status != Some(202) || operation.is_empty() {
            break;
        }
        let wait = reply.header("retry-after").and_then(|it| it.parse().ok()).unwrap_or(2);
        tokio::time::sleep(Duration::from_secs(u64::min(wait, 30))).await;
        let path = format!("/{scope}/registrations/{id}/operations/{operation}?{VERSION}");
        let token = token(asker, scope, id, key);
        reply = asker.ask_at(&asker.cloud.device_dps, "GET", &path, Some(&token), &[], b"").await;
    }
    let body = reply.json();
    let state = &body["registrationState"];
    if let Some(hub) = state["assignedHub"].as_str().filter(|it| !it.eq_ignore_ascii_case(&asker.cloud.hub.host)) {
        asker.cloud.created.add(Resource::AtOtherHub(id.to_owned(), hub.to_owned()));
    }
    let text = |it: &serde_json::Value| it.as_str().unwrap_or("absent").to_owned();
    format!("{}, status {}, substatus {}", reply.summary(), text(&body["status"]), text(&state["substatus"]))
}
