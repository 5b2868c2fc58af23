//! The simulated devices of `hubward emulator`: real clients that the admin API starts and stops.

use serde_json::{Value, json};

use super::emulator::folder;
use super::http::send;
use super::running::Running;

async fn ask(admin: &str, request: &str, body: Value) -> Value {
    let (status, answer) = send(admin, request, "", Some(&body)).await.expect("an answer");
    assert!(status < 300, "{request}: {status} {answer}");
    answer
}

/// Sends the request again and again until `wanted` returns `Some`. There is no pause between two requests.
async fn until<T>(admin: &str, request: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(&ask(admin, request, json!({})).await) {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_device_registers_sends_numbers_and_answers_methods_until_it_is_stopped() {
    let (_folder, data_dir) = folder();
    let mut running = Running::emulator(&data_dir, ["--output", "json"]);
    let ready = running.json_until("ready").await;
    let admin = ready[0]["admin"].as_str().expect("an address").to_owned();
    assert_eq!(ask(&admin, "GET /api/simulated", json!({})).await["available"], true);
    assert_eq!(ask(&admin, "POST /api/simulated", json!({})).await, json!({ "id": "sim-1" }));

    let path = "GET /api/telemetry/localhost?format=json&from=0&device=sim-1";
    let message = until(&admin, path, |page| page["messages"].as_array()?.get(1).cloned()).await;
    assert_eq!(message["systemProperties"]["$.ct"], "application/json", "{message}");
    let body: Value = serde_json::from_str(message["body"].as_str().expect("text")).expect("JSON");
    for field in ["temperature", "humidity", "battery"] {
        assert!(body[field].is_number(), "{body}");
    }
    let twin = "GET /hubs/localhost/twins/sim-1";
    until(&admin, twin, |twin| (twin["properties"]["reported"]["simulated"] == true).then_some(())).await;
    let call = json!({ "methodName": "ping", "responseTimeoutInSeconds": 60 });
    let answer = ask(&admin, "POST /hubs/localhost/twins/sim-1/methods", call).await;
    assert_eq!(answer, json!({ "status": 200, "payload": { "pong": true } }));
    assert_eq!(ask(&admin, "GET /api/simulated", json!({})).await["devices"][0]["hub"], "localhost");

    ask(&admin, "DELETE /api/simulated/sim-1", json!({})).await;
    let path = "GET /api/events?format=json&from=0&kind=disconnected&id=sim-1";
    let why = until(&admin, path, |page| Some(page["events"][0]["message"].as_str()?.to_owned())).await;
    assert_eq!(why, "the client sent DISCONNECT");

    // The emulator ends although a device runs. The device connects with the rules of the emulator, so there is no line
    // about rules of the user.
    ask(&admin, "POST /api/simulated", json!({ "registrationId": "pump-1" })).await;
    until(&admin, "GET /api/status", |status| (status["hubs"][0]["connected"] == 1).then_some(())).await;
    let (ended, _, stderr) = running.interrupt().await;
    assert_eq!(ended.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("connecting to "), "{stderr}");
}
