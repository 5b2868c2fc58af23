//! Scenarios that inspect the cloud's side. In some scenarios the cloud misbehaves.

use std::time::Duration;

use hubward::provisioning::Substatus;
use hubward::{Assignment, ConnectionState, HubClient, HubOptions, Message, Settings, TransportKind};
use hubward_emulator::{Emulator, Fault, Point};
use serde_json::json;
use tokio::time::Instant;

use crate::cloud::{Cloud, HUB, settings};
use crate::scenario::{Outcome, context, ensure};

const FLUSH: Duration = Duration::from_secs(10);

/// A device of a group registers with a derived key. The key is derived from the group's primary key or secondary key.
pub(super) async fn group_device_derives_its_key(cloud: Cloud, kind: TransportKind) -> Outcome {
    let group = context("a group", cloud.emulator.enroll_group("line-7"))?;
    let primary = settings(&group.vars("pump-1")).transport(kind);
    let assignment = context("with the primary key", primary.provision().await)?;
    ensure(assignment.device_id.as_str() == "pump-1", || format!("{}", assignment.device_id))?;

    let derived = group.secondary_key().derive("pump-2");
    let mut secondary = settings(&group.vars("pump-2")).transport(kind);
    secondary.credential = hubward::Credential::SharedKey(derived);
    context("with the secondary key", secondary.provision().await)?;
    ensure(cloud.emulator.devices().len() == 2, || format!("{:?}", cloud.emulator.devices()))
}

/// DPS ignores the group of a device that has an individual enrollment.
pub(super) async fn individual_enrollment_wins_over_its_group(cloud: Cloud, kind: TransportKind) -> Outcome {
    let group = context("a group", cloud.emulator.enroll_group("line-7"))?;
    let own = context("an enrollment", cloud.emulator.enrollment("pump-1").device_id("own").create())?;
    let refused = settings(&group.vars("pump-1")).transport(kind).provision().await;
    ensure(refused.is_err(), || "DPS accepted the group's key for the individual enrollment".into())?;
    let assignment = context("with its own key", settings(&own.vars()).transport(kind).provision().await)?;
    ensure(assignment.device_id.as_str() == "own", || format!("{}", assignment.device_id))
}

/// An enrollment may contain a device ID that differs from the registration ID. DPS then gives the device this device
/// ID, and the device sends telemetry with it.
pub(super) async fn device_id_may_differ_from_registration_id(cloud: Cloud, kind: TransportKind) -> Outcome {
    let enrolled = context("an enrollment", cloud.emulator.enrollment("reg-1").device_id("Dev_1").create())?;
    let hub = context("connecting", settings(&enrolled.vars()).transport(kind).connect().await)?;
    context("sending", hub.send(Message::new("x")).await)?;
    let device = cloud.emulator.device(HUB, "Dev_1");
    ensure(device.is_some(), || "the registry has no device with this ID".into())
}

/// A device can register and connect with the primary key and with the secondary key of its enrollment.
pub(super) async fn secondary_key_works(cloud: Cloud, kind: TransportKind) -> Outcome {
    let enrolled = context("an enrollment", cloud.emulator.enroll("dev-1"))?;
    let mut settings = settings(&enrolled.vars()).transport(kind);
    settings.credential = hubward::Credential::SharedKey(enrolled.secondary_key().clone());
    let hub = context("connecting", settings.clone().connect().await)?;
    context("sending", hub.send(Message::new("x")).await)
}

/// DPS gets the payload of the registration. The device gets the payload of the allocation.
pub(super) async fn payload_is_sent_and_returned(cloud: Cloud, kind: TransportKind) -> Outcome {
    let answer = json!({"floor": 3, "städte": ["Köln"]});
    let enrolled = context("an enrollment", cloud.emulator.enrollment("dev-1").payload(answer.clone()).create())?;
    let sent = json!({"serial": "é-1", "n": [1, 2]});
    let settings = settings(&enrolled.vars()).transport(kind).payload(sent.clone());
    let assignment = context("provisioning", settings.provision().await)?;
    let received = cloud.emulator.received_payload("dev-1");
    ensure(received.as_ref() == Some(&sent), || format!("DPS received {received:?}"))?;
    ensure(assignment.state.payload.as_ref() == Some(&answer), || {
        format!("the device received {:?}", assignment.state.payload)
    })
}

/// DPS spreads the devices over several hubs. Each device sends to its own hub.
pub(super) async fn devices_are_spread_over_the_hubs(cloud: Cloud, kind: TransportKind) -> Outcome {
    drop(cloud);
    let hubs = ["localhost", "127.0.0.1"];
    let cloud = Cloud::with(Emulator::builder().hubs(hubs)).await;
    let mut used = std::collections::BTreeSet::new();
    for number in 0..8 {
        let id = format!("dev-{number}");
        let settings = cloud.device(&id).transport(kind);
        let assignment = context("provisioning", settings.provision().await)?;
        let hub = context("connecting", settings.hub_settings(&assignment).connect().await)?;
        context("sending", hub.send(Message::new(id.clone())).await)?;
        let log = cloud.emulator.telemetry(assignment.hub.as_str()).ok_or("a hub without a log")?;
        ensure(log.all().iter().any(|it| it.device_id == id), || format!("{id} is not in the log of its hub"))?;
        used.insert(assignment.hub.to_string());
    }
    ensure(used.len() == 2, || format!("eight devices, and all went to {used:?}"))
}

/// Bodies and properties arrive exactly as the device sent them.
pub(super) async fn telemetry_arrives_as_sent(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = context("connecting", cloud.device("dev-1").transport(kind).connect().await)?;
    let sent = [
        Message::new(""),
        Message::new(vec![0_u8, 255, 10, 13]).property("empty", "").flag("flag"),
        Message::new("body").message_id("!'()*~ /+%").content_type("text/plain").property("sp ace", "p+l%us"),
        Message::new("x".repeat(200_000)).property("température", "温度 🌡"),
    ];
    for message in &sent {
        context("sending", hub.send(message.clone()).await)?;
    }
    let log = cloud.emulator.telemetry(HUB).ok_or("no log")?;
    let arrived = log.wait_for(sent.len() as u64).await;
    for (message, entry) in sent.iter().zip(&arrived) {
        ensure(entry.message == *message, || format!("sent {message:?}, arrived {:?}", entry.message))?;
        ensure(entry.device_id == "dev-1", || entry.device_id.clone())?;
    }
    ensure(log.total() == sent.len() as u64, || format!("{} entries", log.total()))
}

/// The client waits for the time in Retry-After. DPS can send a Retry-After in its answer to a registration, in its
/// answer to a poll, and with a refusal (429).
pub(super) async fn waits_for_retry_after(cloud: Cloud, kind: TransportKind) -> Outcome {
    drop(cloud);
    let cloud = Cloud::with(Emulator::builder().retry_after(Some(Duration::from_secs(1)))).await;
    context("a fault", cloud.emulator.fault(Point::DpsRegister, Fault::throttled("1")))?;
    let started = Instant::now();
    context("provisioning", cloud.device("dev-1").transport(kind).provision().await)?;
    // The client waits for 1 s three times: after the 429, after the registration, and after a poll with the status
    // `assigning`.
    ensure(started.elapsed() >= Duration::from_secs(3), || format!("only {:?}", started.elapsed()))
}

/// The client ignores a second copy of an answer and an answer to another request. It accepts an answer that arrives
/// before the PUBACK, and one that arrives byte by byte.
pub(super) async fn ignores_unexpected_answers(cloud: Cloud, kind: TransportKind) -> Outcome {
    for (number, fault) in [Fault::Duplicate, Fault::Stray, Fault::BeforePuback, Fault::Drip(Duration::from_millis(1))]
        .into_iter()
        .enumerate()
    {
        for point in [Point::DpsRegister, Point::DpsPoll] {
            context("a fault", cloud.emulator.fault(point, fault.clone()))?;
        }
        let settings = cloud.device(&format!("dev-{number}")).transport(kind);
        context(&format!("with {fault:?}"), settings.provision().await)?;
    }
    Ok(())
}

/// If the connection closes while DPS is assigning a hub, the client continues to poll. It does not register again.
pub(super) async fn a_connection_lost_while_assigning_resumes(cloud: Cloud, kind: TransportKind) -> Outcome {
    context("a fault", cloud.emulator.fault(Point::DpsPoll, Fault::Cut))?;
    // After the first poll, the emulator refuses every registration. So the test passes only if the client polls.
    let settings = cloud.device("dev-1").transport(kind);
    let emulator = &cloud.emulator;
    let (provisioned, ()) = tokio::join!(settings.provision(), async {
        emulator.wait_until(|it| (it.faults_left(Point::DpsPoll) == 0).then_some(())).await;
        emulator.fault_always(Point::DpsRegister, Fault::status(401, 401_002, "registered twice")).expect("it fits");
    });
    let assignment: Assignment = context("provisioning", provisioned)?;
    ensure(assignment.state.substatus == Some(Substatus::InitialAssignment), || {
        format!("{:?}", assignment.state.substatus)
    })
}

/// DPS accepts a token until five minutes after its expiry, and not longer.
pub(super) async fn an_expired_token_has_a_grace_period(cloud: Cloud, kind: TransportKind) -> Outcome {
    let lifetime = hubward::provisioning::Provisioner::TOKEN_LIFETIME;
    let settings = cloud.device("dev-1").transport(kind);
    cloud.emulator.clock_ahead(lifetime + Duration::from_secs(4 * 60 + 50));
    context("4 min 50 s after its expiry", settings.provision().await)?;
    cloud.emulator.clock_ahead(lifetime + Duration::from_secs(5 * 60 + 10));
    match settings.provision().await {
        Ok(_) => Err("the hub accepted the token 5 min 10 s after its expiry".into()),
        Err(error) => ensure(error.fault() == hubward::Fault::Credential, || format!("{error}: {}", error.fault())),
    }
}

/// If a connection is lost while messages are in flight, the client loses no message.
pub(super) async fn reconnects_and_resends(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = context("connecting", quick(&cloud, "dev-1", kind, HubOptions::default()).await)?;
    context("a warm-up", hub.send(Message::new("0")).await)?;
    context("a fault", cloud.emulator.fault(Point::HubPublish, Fault::Cut))?;
    context("a fault", cloud.emulator.fault(Point::HubPublish, Fault::Cut))?;
    send_and_check(&cloud, &hub, 100).await?;
    context("closing", hub.close(FLUSH).await).map(|_| ())
}

/// If the hub sends no PUBACK, the client sends the message again, with DUP and the same packet ID.
pub(super) async fn a_missing_puback_is_sent_again(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = HubOptions::default().ack_timeout(Duration::from_millis(300));
    let hub = context("connecting", quick(&cloud, "dev-1", kind, options).await)?;
    context("a fault", cloud.emulator.fault(Point::HubPublish, Fault::HoldPuback))?;
    send_and_check(&cloud, &hub, 10).await?;
    let log = cloud.emulator.telemetry(HUB).ok_or("no log")?;
    let again: Vec<_> = log.all().into_iter().filter(|it| it.duplicate).collect();
    ensure(!again.is_empty(), || "the client sent no message with DUP".into())
}

/// An application that sends telemetry does not notice that the client renews its token.
pub(super) async fn renews_its_token(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = HubOptions::default().token_lifetime(Duration::from_secs(2));
    let hub = context("connecting", quick(&cloud, "dev-1", kind, options).await)?;
    let mut state = hub.state();
    let mut sent = 0;
    let renewed = async {
        state
            .wait_for(|it| matches!(it, ConnectionState::Renewing | ConnectionState::Disconnected { .. }))
            .await
            .map(|it| it.clone())
    };
    tokio::pin!(renewed);
    // Send messages until the client reports a renewal.
    let seen = loop {
        tokio::select! {
            seen = &mut renewed => break seen,
            result = hub.send(Message::new(format!("{sent}"))) => {
                context("sending", result)?;
                sent += 1;
            }
        }
    };
    ensure(matches!(seen, Ok(ConnectionState::Renewing)), || {
        format!("the client reported {seen:?} instead of a renewal")
    })?;
    context("after the renewal", hub.send(Message::new("after")).await)?;
    ensure(hub.state().borrow().is_connected(), || format!("{:?}", *hub.state().borrow()))
}

/// If a device opens a second connection, the hub closes the first one. The client of the first connection reports this
/// and reconnects.
pub(super) async fn takes_over_from_an_older_connection(cloud: Cloud, kind: TransportKind) -> Outcome {
    let first = context("the first", quick(&cloud, "dev-1", kind, HubOptions::default()).await)?;
    let mut state = first.state();
    let second = context("the second", quick(&cloud, "dev-1", kind, HubOptions::default()).await)?;
    context(
        "the first is disconnected",
        state.wait_for(|it| matches!(it, ConnectionState::Disconnected { .. })).await,
    )?;
    context("the second sends", second.send(Message::new("second")).await)?;
    context("the second closes", second.close(FLUSH).await)?;
    context("the first reconnects", first.send(Message::new("first")).await)
}

/// Registers a device, and connects a client with these options to the hub that DPS assigns.
async fn quick(
    cloud: &Cloud,
    id: &str,
    kind: TransportKind,
    options: HubOptions,
) -> Result<HubClient, hubward::ConnectError> {
    let settings: Settings = cloud.device(id).transport(kind);
    let assignment = settings.provision().await?;
    let client = settings.hub_settings(&assignment).options(|it| it.hub_options(options)).spawn()?;
    client.connected().await?;
    Ok(client)
}

/// Sends numbered messages. Does not wait for one acknowledgement before it sends the next message. Then checks that
/// all messages are acknowledged, and that the hub's log contains each of them.
async fn send_and_check(cloud: &Cloud, hub: &HubClient, count: usize) -> Outcome {
    let mut receipts = Vec::new();
    for number in 0..count {
        let message = Message::new(format!("{number}")).message_id(format!("id-{number}"));
        receipts.push(context("queueing", hub.enqueue(message).await)?);
    }
    for receipt in receipts {
        context("a receipt", receipt.await)?;
    }
    let log = cloud.emulator.telemetry(HUB).ok_or("no log")?;
    let arrived: std::collections::HashSet<String> =
        log.all().iter().filter_map(|it| it.message.id().map(str::to_owned)).collect();
    ensure(arrived.len() == count, || format!("{} of {count} messages arrived", arrived.len()))
}
