//! What can only be seen from the cloud's side, or needs the cloud to misbehave.

use std::time::Duration;

use hubward::provisioning::Substatus;
use hubward::{Assignment, ConnectionState, HubClient, HubOptions, Message, Settings, TransportKind};
use hubward_emulator::{Emulator, Fault, Point};
use serde_json::json;
use tokio::time::Instant;

use crate::cloud::{Cloud, HUB, settings};
use crate::scenario::{Outcome, because, must};

const FLUSH: Duration = Duration::from_secs(10);

/// A group's device registers with the key derived from the group's, primary or secondary.
pub(super) async fn group_device_derives_its_key(cloud: Cloud, kind: TransportKind) -> Outcome {
    let group = because("a group", cloud.emulator.enroll_group("line-7"))?;
    let primary = settings(&group.vars("pump-1")).transport(kind);
    let assignment = because("with the primary key", primary.provision().await)?;
    must(assignment.device_id.as_str() == "pump-1", || format!("{}", assignment.device_id))?;

    let derived = group.secondary_key().derive("pump-2");
    let mut secondary = settings(&group.vars("pump-2")).transport(kind);
    secondary.credential = hubward::Credential::SharedKey(derived);
    because("with the secondary key", secondary.provision().await)?;
    must(cloud.emulator.devices().len() == 2, || format!("{:?}", cloud.emulator.devices()))
}

/// A device with an enrollment of its own is not its group's.
pub(super) async fn individual_wins_over_its_group(cloud: Cloud, kind: TransportKind) -> Outcome {
    let group = because("a group", cloud.emulator.enroll_group("line-7"))?;
    let own = because("an enrollment", cloud.emulator.enrollment("pump-1").device_id("own").create())?;
    let refused = settings(&group.vars("pump-1")).transport(kind).provision().await;
    must(refused.is_err(), || "the group's key must not open the device's own enrollment".into())?;
    let assignment = because("with its own key", settings(&own.vars()).transport(kind).provision().await)?;
    must(assignment.device_id.as_str() == "own", || format!("{}", assignment.device_id))
}

/// The device id at the hub is the enrollment's, and telemetry works under it.
pub(super) async fn device_id_may_differ(cloud: Cloud, kind: TransportKind) -> Outcome {
    let enrolled = because("an enrollment", cloud.emulator.enrollment("reg-1").device_id("Dev_1").create())?;
    let hub = because("connecting", settings(&enrolled.vars()).transport(kind).connect().await)?;
    because("sending", hub.send(Message::new("x")).await)?;
    let device = cloud.emulator.device(HUB, "Dev_1");
    must(device.is_some(), || "the registry knows the device by its id".into())
}

/// Either key of an enrollment registers and connects.
pub(super) async fn secondary_key_works_too(cloud: Cloud, kind: TransportKind) -> Outcome {
    let enrolled = because("an enrollment", cloud.emulator.enroll("dev-1"))?;
    let mut settings = settings(&enrolled.vars()).transport(kind);
    settings.credential = hubward::Credential::SharedKey(enrolled.secondary_key().clone());
    let hub = because("connecting", settings.connect().await)?;
    because("sending", hub.send(Message::new("x")).await)
}

/// What the device sends along reaches DPS; what the allocation answers reaches the device.
pub(super) async fn payload_goes_out_and_comes_back(cloud: Cloud, kind: TransportKind) -> Outcome {
    let answer = json!({"floor": 3, "städte": ["Köln"]});
    let enrolled = because("an enrollment", cloud.emulator.enrollment("dev-1").payload(answer.clone()).create())?;
    let sent = json!({"serial": "é-1", "n": [1, 2]});
    let settings = settings(&enrolled.vars()).transport(kind).payload(sent.clone());
    let assignment = because("provisioning", settings.provision().await)?;
    let received = cloud.emulator.received_payload("dev-1");
    must(received.as_ref() == Some(&sent), || format!("DPS got {received:?}"))?;
    must(assignment.state.payload.as_ref() == Some(&answer), || format!("we got {:?}", assignment.state.payload))
}

/// With several hubs, devices spread over them, and each sends to its own.
pub(super) async fn several_hubs_share_the_devices(cloud: Cloud, kind: TransportKind) -> Outcome {
    drop(cloud);
    let hubs = ["localhost", "127.0.0.1"];
    let cloud = Cloud::with(Emulator::builder().hubs(hubs)).await;
    let mut used = std::collections::BTreeSet::new();
    for number in 0..8 {
        let id = format!("dev-{number}");
        let settings = cloud.device(&id).transport(kind);
        let assignment = because("provisioning", settings.provision().await)?;
        let hub = because("connecting", settings.hub_settings(&assignment).connect().await)?;
        because("sending", hub.send(Message::new(id.clone())).await)?;
        let log = cloud.emulator.telemetry(assignment.hub.as_str()).ok_or("a hub without a log")?;
        must(log.all().iter().any(|it| it.device_id == id), || format!("{id} is not in the log of its hub"))?;
        used.insert(assignment.hub.to_string());
    }
    must(used.len() == 2, || format!("eight devices, and all went to {used:?}"))
}

/// Bodies and properties arrive exactly as they were sent.
pub(super) async fn telemetry_arrives_as_sent(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = because("connecting", cloud.device("dev-1").transport(kind).connect().await)?;
    let sent = [
        Message::new(""),
        Message::new(vec![0_u8, 255, 10, 13]).property("empty", "").flag("flag"),
        Message::new("body").message_id("!'()*~ /+%").content_type("text/plain").property("sp ace", "p+l%us"),
        Message::new("x".repeat(200_000)).property("température", "温度 🌡"),
    ];
    for message in &sent {
        because("sending", hub.send(message.clone()).await)?;
    }
    let log = cloud.emulator.telemetry(HUB).ok_or("no log")?;
    let arrived = log.wait_for(sent.len() as u64).await;
    for (message, entry) in sent.iter().zip(&arrived) {
        must(entry.message == *message, || format!("sent {message:?}, arrived {:?}", entry.message))?;
        must(entry.device_id == "dev-1", || entry.device_id.clone())?;
    }
    must(log.total() == sent.len() as u64, || format!("{} entries", log.total()))
}

/// The service's Retry-After is waited for, after the registration and after a 429.
pub(super) async fn waits_as_long_as_asked(cloud: Cloud, kind: TransportKind) -> Outcome {
    drop(cloud);
    let cloud = Cloud::with(Emulator::builder().retry_after(Some(Duration::from_secs(1)))).await;
    because("a fault", cloud.emulator.fault(Point::DpsRegister, Fault::throttled("1")))?;
    let started = Instant::now();
    because("provisioning", cloud.device("dev-1").transport(kind).provision().await)?;
    // 1 s after the 429, 1 s after the registration, 1 s after a poll that is still assigning.
    must(started.elapsed() >= Duration::from_secs(3), || format!("only {:?}", started.elapsed()))
}

/// Answers that come twice, late, for somebody else, or before their PUBACK.
pub(super) async fn survives_odd_answers(cloud: Cloud, kind: TransportKind) -> Outcome {
    for (number, fault) in [Fault::Duplicate, Fault::Stray, Fault::BeforePuback, Fault::Drip(Duration::from_millis(1))]
        .into_iter()
        .enumerate()
    {
        for point in [Point::DpsRegister, Point::DpsPoll] {
            because("a fault", cloud.emulator.fault(point, fault.clone()))?;
        }
        let settings = cloud.device(&format!("dev-{number}")).transport(kind);
        because(&format!("with {fault:?}"), settings.provision().await)?;
    }
    Ok(())
}

/// A connection that breaks while assigning does not register again.
pub(super) async fn a_cut_while_assigning_resumes(cloud: Cloud, kind: TransportKind) -> Outcome {
    because("a fault", cloud.emulator.fault(Point::DpsPoll, Fault::Cut))?;
    // A second registration would be refused: nothing but polls gets through.
    let settings = cloud.device("dev-1").transport(kind);
    let emulator = &cloud.emulator;
    let (provisioned, ()) = tokio::join!(settings.provision(), async {
        emulator.wait_until(|it| (it.faults_left(Point::DpsPoll) == 0).then_some(())).await;
        emulator.fault_always(Point::DpsRegister, Fault::status(401, 401_002, "registered twice")).expect("it fits");
    });
    let assignment: Assignment = because("provisioning", provisioned)?;
    must(assignment.state.substatus == Some(Substatus::InitialAssignment), || {
        format!("{:?}", assignment.state.substatus)
    })
}

/// A token is good for five minutes after its expiry, and then no more.
pub(super) async fn grace_of_an_expired_token(cloud: Cloud, kind: TransportKind) -> Outcome {
    let lifetime = hubward::provisioning::Provisioner::TOKEN_LIFETIME;
    let settings = cloud.device("dev-1").transport(kind);
    cloud.emulator.clock_ahead(lifetime + Duration::from_secs(4 * 60 + 50));
    because("4 min 50 s after its expiry", settings.provision().await)?;
    cloud.emulator.clock_ahead(lifetime + Duration::from_secs(5 * 60 + 10));
    match settings.provision().await {
        Ok(_) => Err("5 min 10 s after its expiry the token was accepted".into()),
        Err(error) => must(error.fault() == hubward::Fault::Credential, || format!("{error}: {}", error.fault())),
    }
}

/// A connection that breaks under load loses nothing.
pub(super) async fn reconnects_and_resends(cloud: Cloud, kind: TransportKind) -> Outcome {
    let hub = because("connecting", quick(&cloud, "dev-1", kind, HubOptions::default()).await)?;
    because("a warm-up", hub.send(Message::new("0")).await)?;
    because("a fault", cloud.emulator.fault(Point::HubPublish, Fault::Cut))?;
    because("a fault", cloud.emulator.fault(Point::HubPublish, Fault::Cut))?;
    send_and_check(&cloud, &hub, 100).await?;
    because("closing", hub.close(FLUSH).await).map(|_| ())
}

/// One PUBACK that never comes: the message is sent again, with the same id, and marked.
pub(super) async fn a_missing_puback_is_sent_again(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = HubOptions::default().ack_timeout(Duration::from_millis(300));
    let hub = because("connecting", quick(&cloud, "dev-1", kind, options).await)?;
    because("a fault", cloud.emulator.fault(Point::HubPublish, Fault::HoldPuback))?;
    send_and_check(&cloud, &hub, 10).await?;
    let log = cloud.emulator.telemetry(HUB).ok_or("no log")?;
    let again: Vec<_> = log.all().into_iter().filter(|it| it.duplicate).collect();
    must(!again.is_empty(), || "nothing was sent again with DUP".into())
}

/// A token's renewal is nothing that a program notices.
pub(super) async fn renews_its_token(cloud: Cloud, kind: TransportKind) -> Outcome {
    let options = HubOptions::default().token_lifetime(Duration::from_secs(2));
    let hub = because("connecting", quick(&cloud, "dev-1", kind, options).await)?;
    let mut state = hub.state();
    let mut sent = 0;
    let renewed = async {
        state
            .wait_for(|it| matches!(it, ConnectionState::Renewing | ConnectionState::Disconnected { .. }))
            .await
            .map(|it| it.clone())
    };
    tokio::pin!(renewed);
    // Keep sending until a renewal was seen.
    let seen = loop {
        tokio::select! {
            seen = &mut renewed => break seen,
            result = hub.send(Message::new(format!("{sent}"))) => {
                because("sending", result)?;
                sent += 1;
            }
        }
    };
    must(matches!(seen, Ok(ConnectionState::Renewing)), || format!("a renewal looked like {seen:?}"))?;
    because("after the renewal", hub.send(Message::new("after")).await)?;
    must(hub.state().borrow().is_connected(), || format!("{:?}", *hub.state().borrow()))
}

/// A second connection of a device ends the first, which says so and comes back.
pub(super) async fn takes_over_from_an_older_connection(cloud: Cloud, kind: TransportKind) -> Outcome {
    let first = because("the first", quick(&cloud, "dev-1", kind, HubOptions::default()).await)?;
    let mut state = first.state();
    let second = because("the second", quick(&cloud, "dev-1", kind, HubOptions::default()).await)?;
    because(
        "the first loses its place",
        state.wait_for(|it| matches!(it, ConnectionState::Disconnected { .. })).await,
    )?;
    because("the second sends", second.send(Message::new("second")).await)?;
    because("the second closes", second.close(FLUSH).await)?;
    because("the first comes back", first.send(Message::new("first")).await)
}

/// A client of the assigned hub, connected, with options of the scenario's.
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

/// Sends numbered messages at once; every receipt resolves, and the log has each of them.
async fn send_and_check(cloud: &Cloud, hub: &HubClient, count: usize) -> Outcome {
    let mut receipts = Vec::new();
    for number in 0..count {
        let message = Message::new(format!("{number}")).message_id(format!("id-{number}"));
        receipts.push(because("queueing", hub.enqueue(message).await)?);
    }
    for receipt in receipts {
        because("a receipt", receipt.await)?;
    }
    let log = cloud.emulator.telemetry(HUB).ok_or("no log")?;
    let arrived: std::collections::HashSet<String> =
        log.all().iter().filter_map(|it| it.message.id().map(str::to_owned)).collect();
    must(arrived.len() == count, || format!("{} of {count} messages arrived", arrived.len()))
}
