//! Questions 11 and 12: what does an update of a device keep, and what does a bulk request do?

use std::sync::Arc;

use serde_json::Value;

use crate::live_questions::asker::{Api, Asker, identity, keys};
use crate::live_questions::cleanup::Resource;
use crate::live_questions::cloud::HUB_VERSION;
use crate::live_questions::http::Reply;

pub(super) async fn updates(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let path = format!("/devices/{}?{HUB_VERSION}", device.id);
    let put = async |body: String| asker.ask(Api::Hub, "PUT", &path, &[("If-Match", "*")], &body).await;
    let own = format!("\"deviceId\":\"{}\"", device.id);
    let (first, second) = (asker.key()?, asker.key()?);
    let pair = keys(&first, &second);
    let sas = |keys: &str| format!("\"authentication\":{{\"type\":\"sas\",\"symmetricKey\":{keys}}}");

    let disabled = format!("{{{own},\"status\":\"disabled\",\"statusReason\":\"resting\",{}}}", sas(&pair));
    asker.observe_reply("a device is disabled with a reason", &put(disabled).await);
    let reply = put(format!("{{{own},{}}}", sas(&pair))).await;
    asker.observe_reply("an update without status", &reply);
    let now = reply.json();
    asker.observe("an update without status: status, reason", format!("{}, {}", now["status"], now["statusReason"]));

    let key = asker.key()?.expose_base64();
    let key = key.as_str();
    for (name, body) in [
        ("one key", format!("{{{own},{}}}", sas(&format!("{{\"primaryKey\":\"{key}\"}}")))),
        (
            "one key and an empty one",
            format!("{{{own},{}}}", sas(&format!("{{\"primaryKey\":\"{key}\",\"secondaryKey\":\"\"}}"))),
        ),
        (
            "two equal keys",
            format!("{{{own},{}}}", sas(&format!("{{\"primaryKey\":\"{key}\",\"secondaryKey\":\"{key}\"}}"))),
        ),
        ("no keys", format!("{{{own},\"authentication\":{{\"type\":\"sas\"}}}}")),
        ("no authentication", format!("{{{own}}}")),
    ] {
        let before = asker.ask(Api::Hub, "GET", &path, &[], "").await.expect("reading the device")?.json();
        let reply = put(body).await;
        asker.observe_reply(&format!("an update with {name}"), &reply);
        let after = asker.ask(Api::Hub, "GET", &path, &[], "").await.expect("reading the device")?.json();
        asker.observe(format!("an update with {name}: the keys"), changed(&before, &after));
    }
    Ok(())
}

/// Returns a text that says which keys an update changed. The text does not contain the keys.
fn changed(before: &Value, after: &Value) -> String {
    let key = |device: &Value, name: &str| device["authentication"]["symmetricKey"][name].as_str().map(str::to_owned);
    let one = |name| {
        let (before, after) = (key(before, name), key(after, name));
        match after.as_deref() {
            None | Some("") => "absent",
            _ if before == after => "kept",
            _ => "changed",
        }
    };
    let equal = if key(after, "primaryKey") == key(after, "secondaryKey") { ", both equal" } else { "" };
    format!("first {}, second {}{equal}", one("primaryKey"), one("secondaryKey"))
}

pub(super) async fn bulk(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    asker.change_twin("PATCH", &device, "{\"tags\":{\"t\":1}}").await.expect("setting a tag")?;
    let [new, twice] = ["new", "twice"].map(|it| asker.id(it));
    for id in [&new, &twice] {
        asker.cloud.created.add(Resource::Device(id.clone()));
    }
    let entry = |id: &str, mode: &str| -> Result<String, String> {
        Ok(identity(&format!("\"id\":\"{id}\",\"importMode\":\"{mode}\""), &asker.key()?, &asker.key()?))
    };
    let items = [entry(&device.id, "create")?, entry(&new, "create")?];
    observe(&asker, "create of an id that exists and of a new one", &post(&asker, &items).await);
    observe_exists(&asker, "create of both: the new device", &new).await;

    let items = [entry(&twice, "create")?, entry(&twice, "create")?];
    observe(&asker, "an id that appears twice", &post(&asker, &items).await);
    observe_exists(&asker, "an id that appears twice: the device", &twice).await;

    let items = [format!("{{\"id\":\"{}\",\"importMode\":\"updateTwin\",\"tags\":null}}", device.id)];
    observe(&asker, "updateTwin with tags null", &post(&asker, &items).await);
    let twin = asker.twin(&device).await?;
    asker.observe(
        "updateTwin with tags null: tags afterwards",
        twin.get("tags").map_or_else(|| "absent".into(), Value::to_string),
    );

    // The request only deletes devices, and these devices do not exist. So it changes nothing, even if the hub accepts
    // it.
    let items: Vec<String> = (0..101)
        .map(|it| format!("{{\"id\":\"{}\",\"importMode\":\"delete\"}}", asker.id(&format!("n{it}"))))
        .collect();
    observe(&asker, "101 entries", &post(&asker, &items).await);
    observe(&asker, "no entry", &post(&asker, &[]).await);
    Ok(())
}

async fn post(asker: &Asker, items: &[String]) -> Reply {
    let body = format!("[{}]", items.join(","));
    asker.ask(Api::Hub, "POST", &format!("/devices?{HUB_VERSION}"), &[], &body).await
}

async fn observe_exists(asker: &Asker, name: &str, id: &str) {
    let reply = asker.ask(Api::Hub, "GET", &format!("/devices/{id}?{HUB_VERSION}"), &[], "").await;
    asker.observe(name, reply.summary());
}

/// Records each error of a bulk request: its code, its operation, and whether it has a text.
fn observe(asker: &Asker, name: &str, reply: &Reply) {
    asker.observe_reply(name, reply);
    let body = reply.json();
    let Some(errors) = body["errors"].as_array() else { return };
    let text = |it: &Value| if it.is_string() { "a text" } else { "no text" };
    let mut errors: Vec<String> = errors
        .iter()
        .map(|it| {
            let (id, code, operation) = (&it["deviceId"], &it["errorCode"], &it["operation"]);
            format!("{id} code {code} operation {operation} {}", text(&it["errorStatus"]))
        })
        .collect();
    errors.sort();
    let some =
        if errors.len() > 5 { format!("{} errors, first {}", errors.len(), errors[0]) } else { errors.join("; ") };
    let some = if some.is_empty() { "none".to_owned() } else { some };
    asker.observe(format!("{name}: isSuccessful, errors"), format!("{}, {some}", body["isSuccessful"]));
}
