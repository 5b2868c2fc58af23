//! A client that opens and closes connections must not leak memory, tasks or file descriptors.
//!
//! The clients run in a process of their own (`src/bin/cycles.rs`). The emulator runs in this process.

use std::time::Duration;

use hubward::TransportKind;
use hubward_emulator::{Fault, Point};
use hubward_tests::cloud::{Cloud, HubDevice};
use hubward_tests::command::Invocation;
use serde_json::Value;

/// Number of cycles before the first measurement. During these cycles, caches and buffers reach their final size.
const WARM_UP: usize = 200;
/// Cycles that the test measures.
const CYCLES: usize = 1_000;

/// Maximum growth of the resident memory, in bytes per cycle.
const MAX_GROWTH: f64 = 100.0;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_over_mqtt_leak_nothing() {
    cycles(TransportKind::Mqtt).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_over_websocket_leak_nothing() {
    cycles(TransportKind::MqttWs).await;
}

async fn cycles(kind: TransportKind) {
    let cloud = Cloud::start().await;
    let (steady, short_lived) = (cloud.hub_device("steady", kind), cloud.hub_device("short-lived", kind));
    // The hub gets three publishes in each cycle:
    //
    // 1. the message of the steady client, at which the hub closes the connection;
    // 2. the same message again, after the reconnect;
    // 3. the message of the short-lived client.
    for _ in 0..WARM_UP + CYCLES {
        for fault in [Fault::Cut, Fault::Delay(Duration::ZERO), Fault::Delay(Duration::ZERO)] {
            cloud.emulator.fault(Point::HubPublish, fault).expect("it fits");
        }
    }
    let text = |it: &HubDevice, id: &str| {
        format!("HostName=localhost;DeviceId={id};SharedAccessKey={}", it.key.expose_base64().as_str())
    };
    let (mqtt, https) = (cloud.emulator.mqtt_addr(), cloud.emulator.https_addr());
    let program = Invocation::of(env!("CARGO_BIN_EXE_cycles").as_ref());
    let running = program
        .args([WARM_UP.to_string().as_str(), CYCLES.to_string().as_str()])
        .vars(&[
            ("IOTHUB_DEVICE_CONNECTION_STRING", text(&steady, "steady")),
            ("OTHER_CONNECTION_STRING", text(&short_lived, "short-lived")),
            ("HUBWARD_TRANSPORT", kind.to_string()),
            ("HUBWARD_CA_FILE", cloud.emulator.ca_file().display().to_string()),
            ("HUBWARD_CONNECT_TO", format!(":8883:{mqtt},:443:{https}")),
        ])
        .spawn();
    let ran = running.wait_with_output().await.expect("it can be waited for");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let left: Value = serde_json::from_slice(&ran.stdout).expect("the measurements");
    let rss: Vec<f64> = left["rss"].as_array().expect("samples").iter().filter_map(Value::as_f64).collect();
    assert_eq!(rss.len(), CYCLES, "one sample a cycle");
    let slope = slope(&rss);
    println!(
        "{kind}: {CYCLES} cycles after {WARM_UP}: {slope:.1} bytes a cycle (from {} to {}), tasks {}, descriptors {}",
        rss[0],
        rss[CYCLES - 1],
        left["tasks"],
        left["descriptors"]
    );
    assert!(slope < MAX_GROWTH, "{slope} bytes a cycle");
    for what in ["tasks", "descriptors"] {
        assert_eq!(left[what][0], left[what][1], "{what} before and after");
    }
    assert_eq!(cloud.emulator.faults_left(Point::HubPublish), 0, "the hub closed a connection in every cycle");
    assert_eq!(cloud.log().total() as usize, 2 * (WARM_UP + CYCLES));
}

/// The slope of the least-squares line.
fn slope(samples: &[f64]) -> f64 {
    let count = samples.len() as f64;
    let (mean_x, mean_y) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let x = at as f64 - mean_x;
        above += x * (sample - mean_y);
        below += x * x;
    }
    above / below
}

#[test]
fn slope_finds_the_slope_of_a_line() {
    let line: Vec<f64> = (0..100).map(|it| 7.0 + 3.0 * f64::from(it) + if it % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert!((slope(&line) - 3.0).abs() < 0.01, "{}", slope(&line));
    assert!(slope(&[5.0; 10]).abs() < f64::EPSILON);
}
