//! Question 7: how many entries does a page of a list contain?

use std::sync::Arc;

use super::queries::{query, wait_for_rows};
use crate::live_questions::asker::{Api, Asker, identity};
use crate::live_questions::cleanup::Resource;
use crate::live_questions::cloud::{DPS_VERSION, HUB_VERSION};
use crate::live_questions::http::Reply;

/// One more than the largest page size of DPS that public reports mention.
const ENTRIES: usize = 101;

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    enroll(&asker).await?;
    let path = format!("/enrollments/query?{DPS_VERSION}");
    let body = "{\"query\":\"SELECT *\"}";
    for (name, headers) in [("no page size", &[][..]), ("page size 5000", &[("x-ms-max-item-count", "5000")])] {
        let reply = asker.ask(Api::Dps, "POST", &path, headers, body).await;
        observe(&asker, &format!("enrollments, {name}"), &reply);
    }
    create(&asker).await?;
    let all = format!("SELECT deviceId FROM devices WHERE STARTSWITH(deviceId, '{}')", asker.id("d"));
    wait_for_rows(&asker, &all, ENTRIES).await?;
    for (name, headers) in [("no page size", &[][..]), ("page size 5000", &[("x-ms-max-item-count", "5000")])] {
        observe(&asker, &format!("query of twins, {name}"), &query(&asker, "SELECT * FROM devices", headers).await);
    }
    for (name, top) in [("no top", ""), ("top=2000", "top=2000&"), ("top=0", "top=0&")] {
        let reply = asker.ask(Api::Hub, "GET", &format!("/devices?{top}{HUB_VERSION}"), &[], "").await;
        observe(&asker, &format!("list of devices, {name}"), &reply);
    }
    Ok(())
}

/// Records the number of rows of a reply. The question creates 101 entries, but other enrollments and devices may
/// exist, too. So for more than 100 rows, the function records only `more than 100`.
fn observe(asker: &Asker, name: &str, reply: &Reply) {
    asker.observe_reply(name, reply);
    if let Some(rows) = reply.json().as_array().filter(|_| reply.is_success()) {
        let rows = if rows.len() < ENTRIES { rows.len().to_string() } else { format!("more than {}", ENTRIES - 1) };
        let more = if reply.header("x-ms-continuation").is_some() { "a" } else { "no" };
        asker.observe(format!("{name}: rows"), format!("{rows}, {more} continuation"));
    }
}

async fn enroll(asker: &Asker) -> Result<(), String> {
    let ids: Vec<String> = (0..ENTRIES).map(|it| asker.id(&format!("e{it:03}"))).collect();
    // A request accepts at most ten enrollments.
    for ids in ids.chunks(10) {
        let mut items = Vec::new();
        for id in ids {
            items.push(asker.enrollment_body(id, &asker.key()?, "")?);
        }
        let body = format!("{{\"mode\":\"create\",\"enrollments\":[{}]}}", items.join(","));
        let path = format!("/enrollments?{DPS_VERSION}");
        asker.ask(Api::Dps, "POST", &path, &[], &body).await.expect("creating enrollments")?;
    }
    Ok(())
}

async fn create(asker: &Asker) -> Result<(), String> {
    let ids: Vec<String> = (0..ENTRIES).map(|it| asker.id(&format!("d{it:03}"))).collect();
    // A request accepts at most one hundred devices.
    for ids in ids.chunks(50) {
        let mut items = Vec::new();
        for id in ids {
            asker.cloud.created.add(Resource::Device(id.clone()));
            let names = format!("\"id\":\"{id}\",\"importMode\":\"create\",\"status\":\"enabled\"");
            items.push(identity(&names, &asker.key()?, &asker.key()?));
        }
        let path = format!("/devices?{HUB_VERSION}");
        let body = format!("[{}]", items.join(","));
        asker.ask(Api::Hub, "POST", &path, &[], &body).await.expect("creating devices")?;
    }
    Ok(())
}
