//! The Rust code of docs/from-azure-iot-device.md. Every example compiles here, and most examples run against the
//! emulator.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hubward::{
    ConnectionState, HubClient, HubOptions, HubSettings, Message, MethodResponse, Settings, SharedKey, TransportKind,
};
use hubward_emulator::{CloudToDevice, Emulator, Fault, Point};
use hubward_tests::binary::repository;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{HUB, call};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

async fn by_connection_string(text: String) -> Result<HubClient> {
    let hub = HubSettings::from_connection_string(&text)?.connect().await?;
    Ok(hub)
}

async fn with_options(text: String) -> Result<HubClient> {
    let settings = HubSettings::from_connection_string(&text)?
        .transport(TransportKind::MqttWs)
        .options(|it| it.keep_alive(Duration::from_secs(20)).user_agent("acme-pump/2.1").ca_file("ca.pem"))
        .options(|it| it.hub_options(HubOptions::default().token_lifetime(Duration::from_secs(7200))));
    let hub = settings.connect().await?;
    Ok(hub)
}

async fn through_dps(host: String, id_scope: String, registration_id: String, key: String) -> Result<HubClient> {
    let settings = Settings::new(host, id_scope.parse()?, registration_id.parse()?, SharedKey::from_base64(&key)?);
    let hub = settings.connect().await?;
    Ok(hub)
}

async fn send(hub: &HubClient) -> Result<()> {
    let message = Message::new("21.5")
        .message_id("m-1")
        .correlation_id("c-1")
        .content_type("text/plain")
        .content_encoding("utf-8")
        .property("room", "attic");
    hub.send(message).await?;

    let receipts = [hub.enqueue(Message::new("1")).await?, hub.enqueue(Message::new("2")).await?];
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

async fn read_twin(hub: &HubClient) -> Result<Option<Value>> {
    let twin = hub.twin().await?;
    let interval = twin.desired.get("interval");
    Ok(interval.cloned())
}

async fn report(hub: &HubClient) -> Result<Option<u64>> {
    let reported = hub.report(&json!({ "firmware": "2.1", "old": null })).await?;
    Ok(reported.version)
}

async fn follow(hub: HubClient, heard: mpsc::Sender<String>) -> Result<()> {
    let apply = |version: u64, values: &Map<String, Value>| tell(&heard, &format!("{version} {}", json!(values)));
    let mut desired = hub.desired()?;
    while let Ok(properties) = desired.changed().await {
        apply(properties.version, &properties.values);
    }
    Ok(())
}

fn serve(hub: &HubClient) -> Result<()> {
    hub.serve_method("reboot", |call| async move {
        let seconds: Option<u64> = call.json()?;
        MethodResponse::json(202, &json!({ "in": seconds.unwrap_or(5) }))
    })?;
    Ok(())
}

async fn receive(hub: HubClient, heard: mpsc::Sender<String>) -> Result<()> {
    let handle = |body: &[u8], room: Option<&str>| tell(&heard, &format!("{} {room:?}", String::from_utf8_lossy(body)));
    let mut messages = hub.cloud_messages()?;
    while let Ok(message) = messages.next().await {
        handle(&message.body, message.property("room").flatten());
        message.complete().await?;
    }
    Ok(())
}

async fn watch(hub: HubClient, heard: mpsc::Sender<String>) -> Result<()> {
    let show = |text: &str| tell(&heard, text);
    let mut state = hub.state();
    while state.changed().await.is_ok() {
        let state = state.borrow_and_update().clone();
        match &state {
            ConnectionState::Disconnected { cause, attempt, .. } => show(&format!("attempt {attempt}: {cause}")),
            ConnectionState::Closed { .. } => break,
            state => show(if state.is_connected() { "connected" } else { "connecting" }),
        }
    }
    Ok(())
}

async fn end(hub: &HubClient) -> Result<bool> {
    let closed = hub.close(Duration::from_secs(5)).await?;
    Ok(closed.is_clean())
}

async fn be_a_module(module: HubClient) -> Result<()> {
    let mut inputs = module.inputs()?;
    while let Ok(reading) = inputs.next().await {
        if reading.input.as_deref() == Some("readings") {
            module.send(Message::new(reading.body.clone()).output("alarms")).await?;
        }
        reading.complete().await?;
    }
    Ok(())
}

fn tell(heard: &mpsc::Sender<String>, text: &str) {
    heard.try_send(text.to_owned()).expect("the test holds the receiver");
}

/// Creates a device or module at the hub of the emulator. Returns its settings.
fn settings(emulator: &Emulator, text: &str) -> HubSettings {
    let enrolled = emulator.enroll("unused-enrollment").expect("a valid id");
    let variables = enrolled.vars();
    HubSettings::from_vars(|name| match name {
        "IOTHUB_DEVICE_CONNECTION_STRING" => Some(text.to_owned()),
        name => variables.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone()),
    })
    .expect("settings")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_the_page_works() {
    let emulator = Arc::new(Emulator::start().await.expect("the emulator starts"));
    let key = emulator.add_device(HUB, "dev-1").expect("a valid id").expose_base64();
    let text = format!("HostName={HUB};DeviceId=dev-1;SharedAccessKey={}", key.as_str());
    let hub = settings(&emulator, &text).connect().await.expect("connected");

    send(&hub).await.expect("sent");
    let log = emulator.telemetry(HUB).expect("the hub").all();
    let bodies: Vec<_> = log.iter().map(|it| it.message.body.to_vec()).collect();
    assert_eq!(bodies, [&b"21.5"[..], b"1", b"2"]);
    assert_eq!(log[0].message.properties().collect::<Vec<_>>(), [("room", Some("attic"))]);
    assert_eq!(log[0].message.system_properties().count(), 4);

    emulator.patch_desired(HUB, "dev-1", json!({"interval": 5})).expect("a patch");
    assert_eq!(read_twin(&hub).await.expect("a twin"), Some(json!(5)));
    assert_eq!(report(&hub).await.expect("reported"), Some(2));

    let (tell, mut heard) = mpsc::channel(16);
    let following = tokio::spawn(follow(hub.clone(), tell));
    assert_eq!(heard.recv().await.as_deref(), Some(r#"2 {"interval":5}"#));
    emulator.patch_desired(HUB, "dev-1", json!({"interval": 6})).expect("a patch");
    assert_eq!(heard.recv().await.as_deref(), Some(r#"3 {"interval":6}"#));

    serve(&hub).expect("served");
    assert_eq!(call(&emulator, "reboot", json!(7)).await.expect("an answer").payload, Some(json!({"in": 7})));

    let (tell, mut heard) = mpsc::channel(16);
    let receiving = tokio::spawn(receive(hub.clone(), tell));
    let message = CloudToDevice::new("open").property("room", "attic");
    emulator.send_to_device(HUB, "dev-1", message).expect("room in the queue");
    assert_eq!(heard.recv().await.as_deref(), Some(r#"open Some("attic")"#));

    let (tell, mut heard) = mpsc::channel(16);
    let mut watching = Box::pin(watch(hub.clone(), tell));
    // Poll `watch` once, so that it subscribes to the state before the test changes the state.
    assert!(std::future::poll_fn(|cx| Poll::Ready(watching.as_mut().poll(cx).is_pending())).await);
    let watching = tokio::spawn(watching);
    emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1").is_empty().then_some(())).await;
    // The hub refuses new connections until the test has seen that the client is disconnected.
    emulator.fault_always(Point::HubConnect, Fault::Cut).expect("a valid fault");
    assert!(emulator.disconnect_device(HUB, "dev-1"));
    while !heard.recv().await.expect("a change of the state").starts_with("attempt ") {}
    emulator.clear_faults();
    while heard.recv().await.expect("a change of the state") != "connected" {}

    assert!(end(&hub).await.expect("everything is acknowledged"));
    for task in [following, receiving, watching] {
        task.await.expect("no panic").expect("no error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_module_of_the_page_forwards_messages_of_its_input() {
    let emulator = Emulator::start().await.expect("the emulator starts");
    emulator.add_device(HUB, "dev-1").expect("a valid id");
    let key = emulator.add_module(HUB, "dev-1", "filter").expect("a valid id").expose_base64();
    let text = format!("HostName={HUB};DeviceId=dev-1;ModuleId=filter;SharedAccessKey={}", key.as_str());
    let module = settings(&emulator, &text).connect().await.expect("connected");
    let filtering = tokio::spawn(be_a_module(module.clone()));
    for (input, body) in [("readings", "34"), ("others", "1")] {
        emulator.send_to_input(HUB, "dev-1", "filter", input, CloudToDevice::new(body)).expect("room in the queue");
    }
    let log = emulator.telemetry(HUB).expect("the hub").wait_for(1).await;
    assert_eq!((&log[0].message.body[..], log[0].module_id.as_deref()), (b"34".as_slice(), Some("filter")));
    emulator.wait_until(|it| it.cloud_messages(HUB, "dev-1/filter").is_empty().then_some(())).await;
    assert!(end(&module).await.expect("everything is acknowledged"));
    filtering.await.expect("no panic").expect("no error");
}

/// The functions of this test use the default ports, so they cannot connect to the emulator. The test only checks that
/// they refuse invalid input.
#[tokio::test]
async fn a_wrong_connection_string_is_refused() {
    for text in ["", "HostName=localhost;DeviceId=dev-1"] {
        for result in [by_connection_string(text.to_owned()).await, with_options(text.to_owned()).await] {
            let error = result.expect_err("a key is missing");
            assert!(error.to_string().contains("connection string"), "{error}");
        }
    }
    let error = through_dps("dps.example".into(), "0ne1".into(), "dev-1".into(), "short".into()).await;
    assert!(error.expect_err("the key is too short").to_string().contains("key"));
}

/// Compares the lines without their indentation.
#[test]
fn the_code_of_the_page_is_part_of_this_file() {
    let page = std::fs::read_to_string(repository().join("docs/from-azure-iot-device.md")).expect("the page");
    let here: Vec<&str> = include_str!("from_python.rs").lines().map(str::trim).collect();
    let mut blocks = 0;
    for block in page.split("```rust\n").skip(1).filter_map(|it| it.split("```").next()) {
        let lines: Vec<&str> = block.lines().map(str::trim).collect();
        assert!(here.windows(lines.len()).any(|it| it == lines), "this file does not contain the block:\n{block}");
        blocks += 1;
    }
    assert_eq!(blocks, 13, "number of Rust blocks");
}
