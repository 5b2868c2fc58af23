//! Questions 13 and 14: calls that a device cannot answer, and answers that are not as documented.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::live_questions::asker::{Asker, Device};
use crate::live_questions::cloud::HUB_VERSION;
use crate::live_questions::http::Reply;
use crate::live_questions::line::Line;
use crate::live_questions::normal::literal;

const METHODS: &str = "$iothub/methods/POST/#";

/// Calls at once.
const MANY: usize = 300;

/// How long a device waits for a call.
const CALL: Duration = Duration::from_secs(30);

/// Seconds that a device has to answer, where it will not.
const SHORT: u64 = 10;

/// Seconds that a device has to answer one of [`MANY`] calls.
const LONG: u64 = 120;

pub(super) async fn calls(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    for (name, polite) in
        [("the connection breaks during a call", false), ("the device disconnects during a call", true)]
    {
        let mut line = listening(&asker, &device).await?;
        let (reply, came) = tokio::join!(invoke(&asker, &device, "m", "null", SHORT), async {
            let came = line.next(&asker, CALL).await;
            if polite {
                line.close().await;
            } else {
                drop(line);
            }
            came
        });
        came.map_err(|it| format!("no call came, but {it}"))?;
        asker.see_reply(name, &reply);
    }
    let line = listening(&asker, &device).await?;
    let large = format!("\"{}\"", "x".repeat(131_100));
    let long = "n".repeat(2_000);
    let line = answered(&asker, &device, line, "a payload over 128 KB", "m", &large).await?;
    let line = answered(&asker, &device, line, "a name of 2,000 characters", &long, "null").await?;
    let line = answered(&asker, &device, line, "an empty name", "", "null").await?;
    many(&asker, &device, line).await
}

/// Makes a call that the device answers, if it comes.
async fn answered(
    asker: &Asker,
    device: &Device,
    mut line: Line,
    name: &str,
    method: &str,
    payload: &str,
) -> Result<Line, String> {
    let call = invoke(asker, device, method, payload, SHORT);
    let mut call = std::pin::pin!(call);
    let reply = loop {
        tokio::select! {
            reply = &mut call => break reply,
            came = line.next(asker, CALL) => match came {
                Ok(publish) => {
                    let topic = format!("$iothub/methods/res/200/?$rid={}", rid(&publish.topic));
                    line.publish(asker, &topic, b"{}", 0).await;
                }
                Err(_) => break call.await,
            },
        }
    };
    asker.see_reply(name, &reply);
    let life = line.life().await;
    asker.see(format!("{name}: the device's connection"), life);
    if life == "lives" { Ok(line) } else { listening(asker, device).await }
}

/// Makes many calls at once. The device answers when every call has come or was refused, so no time
/// decides how many of them wait at the same time.
async fn many(asker: &Arc<Asker>, device: &Device, mut line: Line) -> Result<(), String> {
    let mut calls = JoinSet::new();
    for _ in 0..MANY {
        let (asker, device) = (asker.clone(), device.clone());
        calls.spawn(async move { invoke(&asker, &device, "m", "null", LONG).await.summary() });
    }
    let (mut waiting, mut ended) = (Vec::new(), BTreeMap::<String, usize>::new());
    while waiting.len() + ended.values().sum::<usize>() < MANY {
        tokio::select! {
            Some(done) = calls.join_next() => *ended.entry(done.map_err(|it| it.to_string())?).or_default() += 1,
            call = line.next(asker, CALL) => match call {
                Ok(call) => waiting.push(rid(&call.topic).to_owned()),
                Err(_) => break,
            },
        }
    }
    asker.see("300 calls at once: calls that reach the device", waiting.len().to_string());
    for rid in waiting {
        line.publish(asker, &format!("$iothub/methods/res/200/?$rid={rid}"), b"{}", 0).await;
    }
    while let Some(done) = calls.join_next().await {
        *ended.entry(done.map_err(|it| it.to_string())?).or_default() += 1;
    }
    let ended: Vec<String> = ended.into_iter().map(|(answer, count)| format!("{count} × {answer}")).collect();
    asker.see("300 calls at once: the callers", ended.join("; "));
    line.close().await;
    Ok(())
}

pub(super) async fn answers(asker: Arc<Asker>) -> Result<(), String> {
    let device = asker.device("a").await?;
    let mut line = Some(listening(&asker, &device).await?);
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
        let mut open = match line.take() {
            Some(open) => open,
            None => listening(&asker, &device).await?,
        };
        let (reply, came) = tokio::join!(invoke(&asker, &device, "m", "{\"a\":1}", SHORT), async {
            let call = open.next(&asker, CALL).await?;
            open.publish(&asker, &format!("$iothub/methods/res/{status}/?$rid={}", rid(&call.topic)), &body, 0).await;
            Ok::<_, &str>(call)
        });
        let call = came.map_err(|it| format!("no call came, but {it}"))?;
        if number == 0 {
            asker.see("the topic of the first call of a connection", &call.topic);
            asker.see_body("the body of a call", &call.body);
        }
        asker.see_reply(&format!("the device answers {name}"), &reply);
        asker.see(format!("the device answers {name}: the caller reads"), literal_without_ids(&reply));
        let life = open.life().await;
        asker.see(format!("the device answers {name}: its connection"), life);
        if life == "lives" {
            line = Some(open);
        }
    }
    Ok(())
}

/// A refusal is shown by its code; its text holds ids and times.
fn literal_without_ids(reply: &Reply) -> String {
    if reply.is_success() { literal(&reply.body) } else { reply.summary() }
}

async fn listening(asker: &Asker, device: &Device) -> Result<Line, String> {
    let mut line = asker.online(device).await?;
    line.must_subscribe(asker, METHODS, 0).await?;
    Ok(line)
}

/// Calls a method once; `payload` is JSON.
pub(super) async fn invoke(asker: &Asker, device: &Device, name: &str, payload: &str, seconds: u64) -> Reply {
    let path = format!("/twins/{}/methods?{HUB_VERSION}", device.id);
    let body = format!(
        "{{\"methodName\":\"{name}\",\"payload\":{payload},\"responseTimeoutInSeconds\":{seconds},\
         \"connectTimeoutInSeconds\":0}}"
    );
    asker.ask_once("POST", &path, body.as_bytes(), Duration::from_secs(seconds + 30)).await
}

/// The request id in the topic of a call.
pub(super) fn rid(topic: &str) -> &str {
    topic.split_once("$rid=").map_or("", |it| it.1)
}
