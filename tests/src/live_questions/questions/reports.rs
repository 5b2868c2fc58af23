//! Questions 8 and 9: which reports and tags does a twin refuse?

use std::sync::Arc;

use crate::live_questions::asker::{Asker, Device};
use crate::live_questions::connection::{Connection, SILENCE};
use crate::live_questions::normal::shape;

const RESPONSES: &str = "$iothub/twin/res/#";

/// The answer to a report.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The topic of the answer, without the version. If no answer arrived, a text that says what happened.
    pub(super) topic: String,
    /// The status and the error code, as a short text.
    pub(super) summary: String,
    /// The shape of the body.
    pub(super) body: String,
}

pub(super) async fn large(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let mut connection = asker.connect(&device).await?;
    connection.must_subscribe(&asker, RESPONSES, 1).await?;
    let text = |count: usize| {
        let members: Vec<String> = (0..count).map(|it| format!("\"p{it}\":\"{}\"", "x".repeat(4_000))).collect();
        format!("{{{}}}", members.join(","))
    };
    let answer = report(&asker, &mut connection, 1, text(9).as_bytes()).await;
    asker.observe("a report over 32 KB: topic", answer.topic);
    asker.observe("a report over 32 KB", answer.summary);
    asker.observe("a report over 32 KB: shape of the body", answer.body);
    asker.observe("a report over 32 KB: the connection afterwards", connection.ping().await);
    let body = format!("{{\"tags\":{}}}", text(3));
    asker.observe_reply("tags over 8 KB", &asker.change_twin("PATCH", &device, &body).await);
    let body = format!("{{\"properties\":{{\"desired\":{}}}}}", text(9));
    asker.observe_reply("desired properties over 32 KB", &asker.change_twin("PATCH", &device, &body).await);
    connection.close().await;
    Ok(())
}

pub(super) async fn odd(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let arrays = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let mut connection = None;
    for (number, (name, body)) in (1..).zip([
        ("an empty object", "{}".to_owned()),
        ("an array", "[]".to_owned()),
        ("an empty body", String::new()),
        ("null in an array", "{\"a\":[null]}".to_owned()),
        ("an empty name", "{\"\":1}".to_owned()),
        ("10 levels below reported", objects(11)),
        ("11 levels below reported", objects(12)),
        ("11 arrays in each other", arrays(11)),
        ("the number 4503599627370495", "{\"a\":4503599627370495}".to_owned()),
        ("the number 4503599627370496", "{\"a\":4503599627370496}".to_owned()),
        ("text that is no JSON", "x".to_owned()),
    ]) {
        let mut open = match connection.take() {
            Some(open) => open,
            None => connected(&asker, &device).await?,
        };
        let before = version(&asker, &device).await?;
        let answer = report(&asker, &mut open, number, body.as_bytes()).await;
        let raised = version(&asker, &device).await? - before;
        asker.observe(name, answer.summary);
        asker.observe(format!("{name}: $version"), format!("+{raised}"));
        let state = open.ping().await;
        asker.observe(format!("{name}: the connection afterwards"), state);
        if state == "lives" {
            connection = Some(open);
        }
    }
    Ok(())
}

async fn connected(asker: &Asker, device: &Device) -> Result<Connection, String> {
    let mut connection = asker.connect(device).await?;
    connection.must_subscribe(asker, RESPONSES, 1).await?;
    Ok(connection)
}

async fn version(asker: &Asker, device: &Device) -> Result<i64, String> {
    let twin = asker.twin(device).await?;
    twin["properties"]["reported"]["$version"].as_i64().ok_or_else(|| "the twin has no reported $version".to_owned())
}

/// Reports properties and waits for the answer to this request.
pub(super) async fn report(asker: &Asker, connection: &mut Connection, rid: u32, body: &[u8]) -> Report {
    let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}");
    let sent = connection.publish(asker, &topic, body, 1).await;
    if sent != "PUBACK" {
        return Report { topic: sent.clone(), summary: sent, body: String::new() };
    }
    loop {
        let publish = match connection.next(asker, SILENCE).await {
            Ok(publish) => publish,
            Err(instead) => return Report { topic: instead.into(), summary: instead.into(), body: String::new() },
        };
        connection.acknowledge(&publish).await;
        let Some(rest) = publish.topic.strip_prefix("$iothub/twin/res/") else { continue };
        let mut parts = rest.split(['/', '?', '&']);
        let status = parts.next().unwrap_or_default().to_owned();
        let mut names: Vec<&str> = parts.filter(|it| !it.is_empty()).collect();
        if !names.contains(&format!("$rid={rid}").as_str()) {
            continue;
        }
        names.iter_mut().filter(|it| it.starts_with("$version=")).for_each(|it| *it = "$version=N");
        let body: serde_json::Value = serde_json::from_slice(&publish.body).unwrap_or_default();
        let code = match &body["errorCode"] {
            serde_json::Value::Null => String::new(),
            code => format!(", code {code}"),
        };
        return Report {
            topic: format!("$iothub/twin/res/{status}/?{}", names.join("&")),
            summary: format!("{status}{code}"),
            body: shape(&publish.body),
        };
    }
}
