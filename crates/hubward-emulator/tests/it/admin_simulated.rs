//! Tests the simulated devices and the counts of traffic at the admin port. These tests have no device client: their
//! simulated devices only wait until the emulator stops them.

use std::sync::Arc;

use hubward_emulator::{Emulator, SimulatedDevice};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::client::{QOS1, Reply, http, listening, patient, publish, receive, send};

async fn ask(emulator: &Emulator, request: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(emulator.admin_addr()).await.expect("connected");
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    http(&mut stream, &request).await.expect("an answer")
}

async fn listed(emulator: &Emulator) -> Value {
    ask(emulator, "GET /api/simulated", "").await.json()
}

/// Starts an emulator whose simulated devices wait until the emulator stops them. Each device then adds a permit to
/// `stopped`. A device with the id `broken` fails immediately.
async fn with_devices(stopped: &Arc<Semaphore>) -> Emulator {
    let stopped = Arc::clone(stopped);
    let builder = Emulator::builder().simulated_device(move |device: SimulatedDevice| {
        let stopped = Arc::clone(&stopped);
        async move {
            if device.registration_id() == "broken" {
                return Err("the hub refused it".to_owned());
            }
            device.stopped().await;
            stopped.add_permits(1);
            Ok(())
        }
    });
    builder.start().await.expect("started")
}

#[tokio::test]
async fn an_emulator_without_a_client_offers_no_simulated_device() {
    let emulator = Emulator::start().await.expect("started");
    assert_eq!(listed(&emulator).await, json!({ "available": false, "max": 10, "devices": [] }));
    let refused = ask(&emulator, "POST /api/simulated", "{}").await;
    assert_eq!(refused.status, 501);
    assert!(refused.json()["message"].as_str().expect("text").contains("no device client"), "{}", refused.body);
    assert!(emulator.vars("sim-1").is_err(), "nothing is enrolled");
}

#[tokio::test]
async fn simulated_devices_are_started_listed_and_stopped() {
    let stopped = Arc::new(Semaphore::new(0));
    let emulator = with_devices(&stopped).await;
    for number in 1..=10 {
        let started = ask(&emulator, "POST /api/simulated", "{}").await;
        assert_eq!((started.status, started.json()), (201, json!({ "id": format!("sim-{number}") })));
    }
    for (body, status) in [("{}", 409), (r#"{"registrationId":"SIM-2"}"#, 409), (r#"{"name":"x"}"#, 400)] {
        assert_eq!(ask(&emulator, "POST /api/simulated", body).await.status, status, "{body}");
    }
    assert!(emulator.vars("sim-10").is_ok(), "it is enrolled");
    assert_eq!(ask(&emulator, "DELETE /api/simulated/sim-2", "").await.json(), json!({ "stopped": true }));
    assert_eq!(ask(&emulator, "DELETE /api/simulated/sim-2", "").await.status, 404);
    let wrong = ask(&emulator, "POST /api/simulated", r#"{"registrationId":"not an id"}"#).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);

    // A device that ends by itself stays in the list, but does not count as a running device.
    assert_eq!(ask(&emulator, "POST /api/simulated", r#"{"registrationId":"broken"}"#).await.status, 201);
    let broken = patient(async {
        loop {
            let list = listed(&emulator).await;
            let it = list["devices"].as_array().expect("a list")[0].clone();
            if it["state"] == "ended" {
                break it;
            }
        }
    })
    .await;
    assert_eq!((&broken["id"], &broken["problem"]), (&json!("broken"), &json!("the hub refused it")));
    assert_eq!(ask(&emulator, "POST /api/simulated", "{}").await.json(), json!({ "id": "sim-2" }));

    // The devices end with the emulator.
    emulator.shutdown().await;
    assert_eq!(stopped.available_permits(), 11, "each device was told to stop");
}

#[tokio::test]
async fn a_reset_ends_the_simulated_devices() {
    let emulator = with_devices(&Arc::new(Semaphore::new(0))).await;
    ask(&emulator, "POST /api/simulated", "{}").await;
    assert_eq!(listed(&emulator).await["devices"][0]["state"], "running");
    assert_eq!(ask(&emulator, "POST /api/reset", "").await.status, 200);
    assert_eq!(listed(&emulator).await["devices"], json!([]));
    assert_eq!(ask(&emulator, "POST /api/simulated", "{}").await.status, 201);
}

#[tokio::test]
async fn traffic_counts_messages_and_connections() {
    let emulator = Emulator::start().await.expect("started");
    let key = emulator.add_device("localhost", "d1").expect("a device");
    let mut device = listening(&emulator, &key, &[]).await;
    for id in 1..=3 {
        send(&mut device, &publish(QOS1, "devices/d1/messages/events/", id, b"x")).await;
        assert_eq!(receive(&mut device).await.expect("a PUBACK")[0], 0x40);
    }
    let traffic = patient(async {
        loop {
            let traffic = ask(&emulator, "GET /api/traffic", "").await.json();
            let sum: u64 = traffic["messages"].as_array().expect("counts").iter().filter_map(Value::as_u64).sum();
            if sum == 3 {
                break traffic;
            }
            // The interval of the messages is not complete yet.
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(traffic["intervalSeconds"], 2);
    let connections = traffic["connections"].as_array().expect("counts");
    assert_eq!(connections.len(), traffic["messages"].as_array().expect("counts").len());
    assert_eq!(connections.iter().filter_map(Value::as_u64).max(), Some(1));
    assert!(traffic["end"].as_str().expect("a time").ends_with('Z'), "{traffic}");
    assert_eq!(ask(&emulator, "POST /api/traffic", "{}").await.status, 405);
}
