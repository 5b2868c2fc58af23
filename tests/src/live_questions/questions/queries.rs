//! Question 19: which columns does a query return, how does it treat absent values, and which queries does the hub
//! refuse?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::live_questions::asker::{Api, Asker};
use crate::live_questions::cloud::HUB_VERSION;
use crate::live_questions::http::Reply;

/// Maximum time until a new twin appears in queries.
const LAG: Duration = Duration::from_secs(120);

pub(super) async fn ask(asker: Arc<Asker>) -> Result<(), String> {
    let first = asker.device("a").await?;
    asker.device("b").await?;
    let own = format!("SELECT deviceId FROM devices WHERE STARTSWITH(deviceId, '{}')", asker.id(""));
    wait_for_rows(&asker, &own, 2).await?;

    for (name, text) in [
        ("COUNT() without a name", "SELECT COUNT() FROM devices"),
        ("GROUP BY", "SELECT status, COUNT() AS n FROM devices GROUP BY status"),
        ("GROUP BY without names", "SELECT status, COUNT() FROM devices GROUP BY status"),
    ] {
        let reply = query(&asker, text, &[]).await;
        asker.observe_reply(name, &reply);
        let rows = reply.json();
        let columns: BTreeSet<String> = rows
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it.as_object())
            .flat_map(|it| it.keys().cloned())
            .collect();
        asker.observe(format!("{name}: columns"), columns.into_iter().collect::<Vec<_>>().join(", "));
        asker.observe(format!("{name}: x-ms-item-type"), reply.header("x-ms-item-type").unwrap_or("absent"));
    }
    let of_first = format!("FROM devices WHERE deviceId = '{}'", first.id);
    let reply = query(&asker, &format!("SELECT tags.none {of_first}"), &[]).await;
    asker.observe_reply("a tag that is not there", &reply);
    asker.observe_body("a tag that is not there: rows", &reply.body);
    let reply = query(&asker, &format!("SELECT deviceId, tags.none AS x {of_first}"), &[]).await;
    asker.observe_body("a named tag that is not there: rows", &reply.body);

    let long = format!("SELECT * FROM devices WHERE deviceId = '{}'", "x".repeat(9_000));
    asker.observe_reply("a text of 9,000 characters", &query(&asker, &long, &[]).await);
    let deep = format!("SELECT * FROM devices WHERE {}deviceId = 'x'{}", "(".repeat(40), ")".repeat(40));
    asker.observe_reply("40 levels of brackets", &query(&asker, &deep, &[]).await);
    asker.observe_reply("a text that is not a query", &query(&asker, "SELECT", &[]).await);

    let reply = query(&asker, &own, &[("x-ms-max-item-count", "1")]).await.expect("a query by pages")?;
    let token = reply.header("x-ms-continuation").ok_or("a page of one of two rows has no continuation")?.to_owned();
    let headers = [("x-ms-max-item-count", "1"), ("x-ms-continuation", token.as_str())];
    asker.observe("a continuation", query(&asker, &own, &headers).await.summary());
    let headers = [("x-ms-max-item-count", "2"), ("x-ms-continuation", token.as_str())];
    asker.observe_reply("a continuation with another page size", &query(&asker, &own, &headers).await);
    let headers = [("x-ms-max-item-count", "1"), ("x-ms-continuation", token.as_str())];
    asker.observe_reply("a continuation of another query", &query(&asker, "SELECT * FROM devices", &headers).await);
    Ok(())
}

/// Sends a query for twins. The text must not contain quotes or backslashes, because the function does not escape it
/// for JSON.
pub(super) async fn query(asker: &Asker, text: &str, headers: &[(&str, &str)]) -> Reply {
    let body = format!("{{\"query\":\"{text}\"}}");
    asker.ask(Api::Hub, "POST", &format!("/devices/query?{HUB_VERSION}"), headers, &body).await
}

/// Repeats a query until it returns this many rows. A live hub returns a new twin only after a delay.
pub(super) async fn wait_for_rows(asker: &Asker, text: &str, rows: usize) -> Result<(), String> {
    let shown = async {
        loop {
            let reply = query(asker, text, &[("x-ms-max-item-count", "1000")]).await.expect("a query of twins")?;
            if reply.json().as_array().is_some_and(|it| it.len() >= rows) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    let late = || format!("queries do not show the {rows} new devices within {} s", LAG.as_secs());
    tokio::time::timeout(LAG, shown).await.unwrap_or_else(|_| Err(late()))
}
