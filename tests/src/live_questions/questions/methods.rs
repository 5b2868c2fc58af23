//! Questions 13 and 14: calls that a device cannot answer, and answers that are not documented.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::live_questions::asker::{Asker, Device};
use crate::live_questions::cloud::HUB_VERSION;
use crate::live_questions::connection::Connection;
use crate::live_questions::http::Reply;
use crate::live_questions::normal::literal;

const METHODS: &str = "$iothub/methods/POST/#";

/// The number of concurrent calls.
const MANY: usize = 300;

/// Maximum time that a device waits for a call.
const CALL: Duration = Duration::from_secs(30);

/// Response timeout, in seconds, of calls that the device does not answer.
const SHORT: u64 = 10;

/// Response timeout in seconds of the [`MANY`] calls.
const LONG: u64 = 120;

pub(super) async fn calls(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    for (name, polite) in
        [("the connection breaks during a call", false), ("the device disconnects during a call", true)]
    {
        let mut connection = listening(&asker, &device).await?;
        let (reply, received) = tokio::join!(invoke(&asker, &device, "m", "null", SHORT), async {
            let received = connection.next(&asker, CALL).await;
            if polite {
                connection.close().await;
            } else {
                drop(connection);
            }
            received
        });
        received.map_err(|it| format!("expected a call: {it}"))?;
        asker.observe_reply(name, &reply);
    }
    let connection = listening(&asker, &device).await?;
    let large = format!("\"{}\"", "x".repeat(131_100));
    let long = "n".repeat(2_000);
    let connection = answered(&asker, &device, connection, "a payload over 128 KB", "m", &large).await?;
    let connection = answered(&asker, &device, connection, "a name of 2,000 characters", &long, "null").await?;
    let connection = answered(&asker, &device, connection, "an empty name", "", "null").await?;
    many(&asker, &device, connection).await
}

/// Calls a method. If the call reaches the device, the device answers.
async fn answered(
    asker: &Asker,
    device: &Device,
    mut connection: Connection,
    name: &str,
    method: &str,
    payload: &str,
) -> Result<Connection, String> {
    let call = invoke(asker, device, method, payload, SHORT);
    let mut call = std::pin::pin!(call);
    let reply = loop {
        tokio::select! {
            reply = &mut call => break reply,
            received = connection.next(asker, CALL) => match received {
                Ok(publish) => {
                    let topic = format!("$iothub/methods/res/200/?$rid={}", rid(&publish.topic));
                    connection.publish(asker, &topic, b"{}", 0).await;
                }
                Err(_) => break call.await,
            },
        }
    };
    asker.observe_reply(name, &reply);
    let state = connection.ping().await;
    asker.observe(format!("{name}: the device's connection"), state);
    if state == "lives" { Ok(connection) } else { listening(asker, device).await }
}

/// Makes many calls at the same time. The device answers the first call only when every call has arrived at the device
/// or the hub has refused it. So timing does not influence how many calls reach the device.
async fn many(asker: &Arc<Asker>, device: &Device, mut connection: Connection) -> Result<(), String> {
    let mut calls = JoinSet::new();
    for _ in 0..MANY {
        let (asker, device) = (asker.clone(), device.clone());
        calls.spawn(async move { invoke(&asker, &device, "m", "null", LONG).await.summary() });
    }
    let (mut waiting, mut ended) = (Vec::new(), BTreeMap::<String, usize>::new());
    while waiting.len() + ended.values().sum::<usize>() < MANY {
        tokio::select! {
            Some(done) = calls.join_next() => *ended.entry(done.map_err(|it| it.to_string())?).or_default() += 1,
            call = connection.next(asker, CALL) => match call {
                Ok(call) => waiting.push(rid(&call.topic).to_owned()),
                Err(_) => break,
            },
        }
    }
    asker.observe("300 calls at once: calls that reach the device", waiting.len().to_string());
    for rid in waiting {
        connection.publish(asker, &format!("$iothub/methods/res/200/?$rid={rid}"), b"{}", 0).await;
    }
    while let Some(done) = calls.join_next().await {
        *ended.entry(done.map_err(|it| it.to_string())?).or_default() += 1;
    }
    let ended: Vec<String> = ended.into_iter().map(|(answer, count)| format!("{count} × {answer}")).collect();
    asker.observe("300 calls at once: the callers", ended.join("; "));
    connection.close().await;
    Ok(())
}

pub(super) async fn answers(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let mut connection = Some(listening(&asker, &device).await?);
    let large = format!("\"{}\"", "x".repeat(133_000)).into_bytes();
    for (number, (name, status, body)) in [
        ("x", "200", b"x".to_vec()),
        ("{'a':1}", "200", b"{'a':1}".to_vec()),
        ("nothing", "200", Vec::new()),
        ("133 KB", "200", large),
        ("status abc", "abc", b"{}".to_vec()),
        ("JSON and a zero byte", "200", b"{\"a\":1}\0".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut open = match connection.take() {
            Some(open) => open,
            None => listening(&asker, &device).await?,
        };
        let (reply, received) = tokio::join!(invoke(&asker, &device, "m", "{\"a\":1}", SHORT), async {
            let call = open.next(&asker, CALL).await?;
            open.publish(&asker, &format!("$iothub/methods/res/{status}/?$rid={}", rid(&call.topic)), &body, 0).await;
            Ok::<_, &str>(call)
        });
        let call = received.map_err(|it| format!("expected a call: {it}"))?;
        if number == 0 {
            asker.observe("the topic of the first call of a connection", &call.topic);
            asker.observe_body("the body of a call", &call.body);
        }
        asker.observe_reply(&format!("the device answers {name}"), &reply);
        asker.observe(format!("the device answers {name}: the caller reads"), literal_without_ids(&reply));
        let state = open.ping().await;
        asker.observe(format!("the device answers {name}: its connection"), state);
        if state == "lives" {
            connection = Some(open);
        }
    }
    Ok(())
}

/// Returns the body of a successful reply as text. For any other reply, returns only the status and the code, because
/// the body would contain IDs and times.
fn literal_without_ids(reply: &Reply) -> String {
    if reply.is_success() { literal(&reply.body) } else { reply.summary() }
}

async fn listening(asker: &Asker, device: &Device) -> Result<Connection, String> {
    let mut connection = asker.connect(device).await?;
    connection.must_subscribe(asker, METHODS, 0).await?;
    Ok(connection)
}

/// Calls a method once. `payload` is JSON text.
pub(super) async fn invoke(asker: &Asker, device: &Device, name: &str, payload: &str, seconds: u64) -> Reply {
    let path = format!("/twins/{}/methods?{HUB_VERSION}", device.id);
    let body = format!(
        "{{\"methodName\":\"{name}\",\"payload\":{payload},\"responseTimeoutInSeconds\":{seconds},\
         \"connectTimeoutInSeconds\":0}}"
    );
    asker.ask_once("POST", &path, body.as_bytes(), Duration::from_secs(seconds + 30)).await
}

/// Returns the request id in the topic of a call.
pub(super) fn rid(topic: &str) -> &str {
    topic.split_once("$rid=").map_or("", |it| it.1)
}
