//! Question 20: which requests does a hub accept with a token of each built-in policy? Which requests does it accept
//! with a token that is valid for only one path of the hub?

use std::sync::Arc;

use crate::live_questions::asker::{Api, Asker};
use crate::live_questions::cloud::{HUB_VERSION, POLICIES, in_an_hour};

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let requests = [
        ("GET", "/statistics/devices".to_owned(), "GET /statistics/devices"),
        ("GET", format!("/twins/{}", device.id), "GET /twins/D"),
        ("GET", format!("/devices/{}", device.id), "GET /devices/D"),
        ("DELETE", format!("/devices/{}/commands", device.id), "DELETE /devices/D/commands"),
    ];
    for (policy, variable) in POLICIES {
        for (method, path, shown) in &requests {
            let name = format!("{policy}: {shown}");
            let Some(key) = asker.cloud.policies.get(policy) else {
                asker.not_asked(name, format!("needs {variable}"));
                continue;
            };
            let token = asker.cloud.token(key, &asker.cloud.hub.host, Some(policy), in_an_hour());
            let path = format!("{path}?{HUB_VERSION}");
            asker.observe_reply(&name, &asker.ask_as(Api::Hub, method, &path, Some(&token), &[], b"").await);
        }
    }
    let hub = &asker.cloud.hub;
    let below = format!("{}/devices/{}", hub.host, device.id);
    let token = asker.cloud.token(&hub.key, &below, Some(&hub.policy), in_an_hour());
    for (method, path, shown) in &requests {
        let reply = asker.ask_as(Api::Hub, method, &format!("{path}?{HUB_VERSION}"), Some(&token), &[], b"").await;
        asker.observe_reply(&format!("a token for a path below: {shown}"), &reply);
    }
    let body = format!("{{\"policyKey\":\"primaryKey\",\"devices\":[{{\"id\":\"{}\"}}]}}", asker.id("none"));
    let reply = asker.ask(Api::Hub, "POST", &format!("/devices/keys/regenerate?{HUB_VERSION}"), &[], &body).await;
    asker.observe_reply("new keys for an id that does not exist", &reply);
    Ok(())
}
