//! Every accepted value survives a restart, including values at the limits.

use std::path::Path;

use hubward_emulator::{Emulator, Seed, StartError, StateError};
use serde_json::{Value, json};

use crate::client::{dps_token, http, tls};
use crate::service_dps::{Operator, enrollment};

const HUB: &str = "localhost";

async fn start(directory: &Path) -> Emulator {
    Emulator::builder().data_dir(directory).start().await.expect("started")
}

/// Nested objects with this many levels.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
}

/// An enrollment with a member that has this many levels.
fn with(id: &str, member: &str, levels: usize) -> Value {
    let mut body = enrollment(id);
    body[member] = nested(levels);
    body
}

#[tokio::test]
async fn values_of_the_maximum_depth_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    let mut operator = Operator::new(&emulator).await;
    for member in ["optionalDeviceInformation", "customAllocationDefinition", "capabilities"] {
        let mut deepest = 0;
        for levels in 1..=130 {
            let id = format!("{member}-{levels}").to_lowercase();
            let reply =
                operator.ask(&format!("PUT /enrollments/{id}"), "", &with(&id, member, levels).to_string()).await;
            match reply.status {
                200 => deepest = levels,
                status => assert_eq!(status, 400, "{}", reply.body),
            }
        }
        assert_eq!(deepest, 63, "{member} is inside of the enrollment");
    }
    let reply = operator.ask("PUT /enrollments/d1", "", &with("d1", "capabilities", 64).to_string()).await;
    assert!(reply.body.contains("more than 64 levels"), "{}", reply.body);

    // The same limit applies to the payload of an enrollment and to the payload that a device sends with its
    // registration. (In the real service, a webhook returns the payload of an enrollment.)
    assert!(emulator.enrollment("deep").payload(nested(65)).create().is_err());
    assert!(emulator.enrollment_group("deep").payload(nested(65)).create().is_err());
    let device = emulator.enrollment("deep").payload(nested(64)).create().expect("taken");
    let mut stream = tls(&emulator, emulator.https_addr()).await;
    for (levels, status) in [(65, 400), (64, 202)] {
        let body = json!({ "registrationId": "deep", "payload": nested(levels) }).to_string();
        let request = format!(
            "PUT /{}/registrations/deep/register?api-version=2021-06-01 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            emulator.id_scope(),
            dps_token(&emulator, device.primary_key(), "deep"),
            body.len()
        );
        assert_eq!(http(&mut stream, &request).await.expect("an answer").status, status, "{levels}");
    }

    let exported = emulator.export();
    emulator.shutdown().await;
    let emulator = start(folder.path()).await;
    assert_eq!(emulator.export(), exported);
    assert_eq!(emulator.received_payload("deep"), Some(nested(64)));
    emulator.reset().expect("done");
    let seed = Seed::from_json(&serde_json::to_string(&exported).expect("JSON")).expect("a seed");
    emulator.import(&seed).expect("it fits");
    assert_eq!(emulator.export(), exported);
    let mut deeper = exported.clone();
    deeper.registrations[0].received_payload = Some(nested(65));
    assert!(emulator.import(&deeper).is_err(), "it is refused here, too");
}

/// A number with 17 digits must keep its last digit. A fast but inexact parser would change it.
#[tokio::test]
async fn a_number_of_a_twin_stays_the_same_to_its_last_digit() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulator = start(folder.path()).await;
    emulator.add_device(HUB, "d1").expect("a device");
    let numbers: Vec<f64> = (0..200).map(|it| 0.1 + f64::from(it) / 7e5).chain([51.248_176_97]).collect();
    emulator.patch_desired(HUB, "d1", json!({ "a": numbers })).expect("fine");
    let before = emulator.twin(HUB, "d1").expect("a twin").desired.values;
    emulator.shutdown().await;
    let emulator = start(folder.path()).await;
    assert_eq!(emulator.twin(HUB, "d1").expect("a twin").desired.values, before);
}

/// If a start fails or is cancelled, another emulator can start with the same directory.
#[tokio::test]
async fn a_start_that_fails_leaves_the_directory_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = Seed::from_json(r#"{"devices": [{"deviceId": "d 1"}]}"#).expect("a seed");
    let begin = || Emulator::builder().data_dir(folder.path());
    begin().seed(bad).start().await.expect_err("no such id");
    begin().start().await.expect("started").shutdown().await;
    for polls in 0..20 {
        let given_up = async {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            started = begin().start() => if let Ok(emulator) = started { emulator.shutdown().await },
            () = given_up => {}
        }
    }
    // A cancelled start closes its files in the background.
    loop {
        match begin().start().await {
            Ok(emulator) => return emulator.shutdown().await,
            Err(StartError::State(StateError::InUse { .. })) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}
