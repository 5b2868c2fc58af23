//! Questions 15 to 17: messages to devices over HTTPS, the feedback about them, and their redelivery.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use crate::live_questions::asker::{Api, Asker, Device};
use crate::live_questions::cloud::{HUB_VERSION, now};
use crate::live_questions::connection::{Connection, SILENCE};
use crate::live_questions::http::Reply;
use crate::packets::Publish;

/// The text of an observation that the question cannot make, because the hub does not accept the message.
const NOT_SENT: &str = "nothing: the hub took no message";

/// Maximum time that the question waits for feedback. A hub collects feedback and sends it in batches.
const FEEDBACK: Duration = Duration::from_secs(180);

/// Waiting time after which a lock has ended. The lock of a message or of a batch of feedback lasts 60 s.
const LOCK: Duration = Duration::from_secs(70);

/// Maximum time that the question waits for a further message.
const QUIET: Duration = Duration::from_secs(5);

pub(super) async fn sending(asker: Arc<Asker>) -> Result<(), String> {
    let (device, offline) = (asker.device("a").await?, asker.device("b").await?);
    let mut connection = listening(&asker, &device).await?;
    let headers = [("iothub-app-k", "v"), ("iothub-messageid", "m1"), ("iothub-ack", "full")];
    let reply = send(&asker, &device, &headers, "hello").await;
    asker.observe_reply("sending a message", &reply);
    let (mut topic, mut body) = (NOT_SENT.to_owned(), NOT_SENT.to_owned());
    if reply.is_success() {
        asker.observe_body("sending a message: the body of the answer", &reply.body);
        match connection.next(&asker, SILENCE).await {
            Ok(message) => {
                connection.acknowledge(&message).await;
                (topic, body) = (message.topic, String::from_utf8_lossy(&message.body).into_owned());
            }
            Err(instead) => (topic, body) = (instead.into(), instead.into()),
        }
    }
    asker.observe("sending a message: the topic", topic);
    asker.observe("sending a message: the body", body);
    connection.close().await;

    asker.observe_reply("a body over 64 KB", &send(&asker, &offline, &[], &"x".repeat(66_000)).await);
    let late = moment(3 * 24 * 3600)?;
    asker.observe_reply("an expiry in three days", &send(&asker, &offline, &[("iothub-expiry", &late)], "hello").await);
    asker.observe("purging", purge(&asker, &offline).await.summary());
    let mut answers = Vec::<(String, usize)>::new();
    for _ in 0..51 {
        let answer = send(&asker, &offline, &[], "hello").await.summary();
        match answers.last_mut() {
            Some((last, count)) if *last == answer => *count += 1,
            _ => answers.push((answer, 1)),
        }
    }
    let answers: Vec<String> = answers.into_iter().map(|(answer, count)| format!("{count} × {answer}")).collect();
    asker.observe("51 messages", answers.join(", then "));
    Ok(())
}

pub(super) async fn feedback(asker: Arc<Asker>) -> Result<(), String> {
    let [read, expired, purged] =
        [asker.device("read").await?, asker.device("late").await?, asker.device("purged").await?];
    let mut connection = listening(&asker, &read).await?;
    let reply = send(&asker, &read, &[("iothub-ack", "full")], "hello").await;
    asker.observe_reply("a message without an id", &reply);
    if !reply.is_success() {
        asker.observe("feedback", NOT_SENT);
        return Ok(());
    }
    match connection.next(&asker, SILENCE).await {
        Ok(message) => {
            connection.acknowledge(&message).await;
            asker.observe("a message without an id: the topic", message.topic);
        }
        Err(instead) => asker.observe("a message without an id: the topic", instead),
    }
    let soon = moment(5)?;
    let headers = [("iothub-ack", "full"), ("iothub-messageid", "late"), ("iothub-expiry", soon.as_str())];
    asker.observe_reply("a message that expires in 5 s", &send(&asker, &expired, &headers, "hello").await);
    let headers = [("iothub-ack", "full"), ("iothub-messageid", "purged")];
    asker.observe_reply("a message to be purged", &send(&asker, &purged, &headers, "hello").await);
    let reply = purge(&asker, &purged).await;
    asker.observe_reply("purging", &reply);
    asker.observe("purging: count", reply.json()["totalMessagesPurged"].to_string());
    asker.cloud.time.advance(Duration::from_secs(10)).await?;
    connection.ping().await;

    let mut records = BTreeMap::new();
    let mut second = None;
    let deadline = tokio::time::Instant::now() + FEEDBACK;
    while records.len() < 3 && tokio::time::Instant::now() < deadline {
        let Some((token, batch)) = receive(&asker).await? else { continue };
        if second.is_none() && batch.iter().any(|it| is_of(it, &asker)) {
            second = Some(asker.ask(Api::Hub, "GET", &feedback_path(""), &[], "").await.summary());
            asker.observe("members of a record", members(&batch, &asker));
        }
        let reply = asker.ask(Api::Hub, "DELETE", &feedback_path(&token), &[], "").await;
        for record in batch.iter().filter(|it| is_of(it, &asker)) {
            records.insert(record["deviceId"].as_str().unwrap_or_default().to_owned(), summary(record));
        }
        reply.expect("completing feedback")?;
    }
    asker.observe("asking again while a batch is locked", second.as_deref().unwrap_or("the hub has no batch"));
    for (name, device) in [("acknowledged", &read), ("expired", &expired), ("purged", &purged)] {
        let none = || format!("none within {} s", FEEDBACK.as_secs());
        asker.observe(format!("feedback of a message that is {name}"), records.remove(&device.id).unwrap_or_else(none));
    }
    stale(&asker, &purged).await
}

/// Receives a batch of feedback, waits until its lock has ended, and then completes the batch. Records the hub's
/// answers.
async fn stale(asker: &Asker, device: &Device) -> Result<(), String> {
    send(asker, device, &[("iothub-ack", "full"), ("iothub-messageid", "stale")], "hello").await.expect("sending")?;
    purge(asker, device).await.expect("purging")?;
    let deadline = tokio::time::Instant::now() + FEEDBACK;
    let name = "completing a batch after its lock";
    let token = loop {
        if tokio::time::Instant::now() > deadline {
            asker.observe(name, "the hub has no batch");
            return Ok(());
        }
        if let Some((token, _)) = receive(asker).await? {
            break token;
        }
    };
    asker.cloud.time.advance(LOCK).await?;
    asker.observe_reply(name, &asker.ask(Api::Hub, "DELETE", &feedback_path(&token), &[], "").await);
    let again = asker.ask(Api::Hub, "GET", &feedback_path(""), &[], "").await;
    asker.observe("asking after the lock of a batch", again.summary());
    if let Some(token) = lock_token(&again) {
        asker.ask(Api::Hub, "DELETE", &feedback_path(&token), &[], "").await;
    }
    Ok(())
}

pub(super) async fn redelivery(asker: Arc<Asker>) -> Result<(), String> {
    let early = asker.device("early").await?;
    let reply = send(&asker, &early, &[("iothub-messageid", "m1")], "hello").await;
    asker.observe_reply("a message before the first connection", &reply);
    if !reply.is_success() {
        asker.observe("redelivery", NOT_SENT);
        return Ok(());
    }
    let mut login = asker.login(&early);
    login.clean = false;
    let (answer, connection) = Connection::open(&asker, "first connection, CleanSession 0", &login).await;
    let mut connection = connection.ok_or_else(|| format!("the login was answered with {answer}"))?;
    connection.must_subscribe(&asker, &filter(&early), 1).await?;
    let received = connection.next(&asker, SILENCE).await;
    asker.observe("a message before the first SUBSCRIBE", received.map_or_else(|it| it, |_| "delivered"));
    connection.close().await;

    let device = asker.device("a").await?;
    let mut connection = listening(&asker, &device).await?;
    send(&asker, &device, &[("iothub-messageid", "m00")], "hello").await.expect("sending")?;
    let first = connection.next(&asker, SILENCE).await.map_err(|it| format!("expected a message: {it}"))?;
    asker.cloud.time.advance(LOCK).await?;
    let again = connection.next(&asker, SILENCE).await;
    let again = again.map_or_else(|it| it.to_owned(), |it| delivery(&it, &first));
    asker.observe("70 s without PUBACK: on the same connection", again);
    drop(connection);
    let mut connection = listening(&asker, &device).await?;
    let again = connection.next(&asker, SILENCE).await;
    let again = again.map_or_else(|it| it.to_owned(), |it| delivery(&it, &first));
    asker.observe("70 s without PUBACK: on the next connection", again);
    for number in 1..=20 {
        let id = format!("m{number:02}");
        send(&asker, &device, &[("iothub-messageid", &id)], "hello").await.expect("sending")?;
    }
    let mut received = Vec::new();
    let mut limit = SILENCE;
    while let Ok(message) = connection.next(&asker, limit).await {
        received.push(format!("{}{}", message_id(&message), if message.duplicate { " DUP" } else { "" }));
        limit = QUIET;
    }
    asker.observe("20 more messages without PUBACK: deliveries", received.len().to_string());
    asker.observe("20 more messages without PUBACK: order", received.join(", "));
    connection.close().await;
    Ok(())
}

async fn listening(asker: &Asker, device: &Device) -> Result<Connection, String> {
    let mut connection = asker.connect(device).await?;
    connection.must_subscribe(asker, &filter(device), 1).await?;
    Ok(connection)
}

fn filter(device: &Device) -> String {
    format!("devices/{}/messages/devicebound/#", device.id)
}

async fn send(asker: &Asker, device: &Device, headers: &[(&str, &str)], body: &str) -> Reply {
    let path = format!("/devices/{}/messages/deviceBound?{HUB_VERSION}", device.id);
    let headers: Vec<_> = [("Content-Type", "text/plain")].into_iter().chain(headers.iter().copied()).collect();
    asker.ask(Api::Hub, "POST", &path, &headers, body).await
}

async fn purge(asker: &Asker, device: &Device) -> Reply {
    asker.ask(Api::Hub, "DELETE", &format!("/devices/{}/commands?{HUB_VERSION}", device.id), &[], "").await
}

fn feedback_path(token: &str) -> String {
    let slash = if token.is_empty() { "" } else { "/" };
    format!("/messages/serviceBound/feedback{slash}{token}?{HUB_VERSION}")
}

/// Asks the hub for a batch of feedback. Returns the batch with its lock token. If the hub has no batch, the function
/// waits for a second and returns `None`.
async fn receive(asker: &Asker) -> Result<Option<(String, Vec<Value>)>, String> {
    let reply = asker.ask(Api::Hub, "GET", &feedback_path(""), &[], "").await.expect("asking for feedback")?;
    let batch = reply.json().as_array().cloned().unwrap_or_default();
    match lock_token(&reply) {
        Some(token) if !batch.is_empty() => Ok(Some((token, batch))),
        None if !batch.is_empty() => Err("a batch of feedback has no ETag, so it cannot be completed".to_owned()),
        _ => {
            // The hub does not announce a batch, so the question has to ask again and again.
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(None)
        }
    }
}

fn lock_token(reply: &Reply) -> Option<String> {
    reply.header("etag").map(|it| it.trim_matches('"').to_owned()).filter(|it| !it.is_empty())
}

fn is_of(record: &Value, asker: &Asker) -> bool {
    record["deviceId"].as_str().is_some_and(|it| it.starts_with(&asker.id("")))
}

fn members(batch: &[Value], asker: &Asker) -> String {
    let mut names: Vec<&str> = batch
        .iter()
        .filter(|it| is_of(it, asker))
        .filter_map(Value::as_object)
        .flat_map(|it| it.keys())
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn summary(record: &Value) -> String {
    format!(
        "statusCode {}, description {}, originalMessageId {}",
        record["statusCode"], record["description"], record["originalMessageId"]
    )
}

/// Returns the message id in the topic of a message. Returns `no id` if the topic contains none.
fn message_id(message: &Publish) -> String {
    let id = message
        .topic
        .split(['/', '&'])
        .find_map(|it| it.strip_prefix("%24.mid=").or_else(|| it.strip_prefix("$.mid=")));
    id.unwrap_or("no id").to_owned()
}

fn delivery(message: &Publish, first: &Publish) -> String {
    let id = if message.id == first.id { "the same packet id" } else { "another packet id" };
    format!("{}, {}, {id}", message_id(message), if message.duplicate { "DUP" } else { "no DUP" })
}

/// The time `seconds` from now.
fn moment(seconds: i64) -> Result<String, String> {
    let at = i64::try_from(now().0).map_err(|error| error.to_string())? + seconds;
    let at = OffsetDateTime::from_unix_timestamp(at).map_err(|error| error.to_string())?;
    let (month, day) = (u8::from(at.month()), at.day());
    Ok(format!("{}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.year(), at.hour(), at.minute(), at.second()))
}
