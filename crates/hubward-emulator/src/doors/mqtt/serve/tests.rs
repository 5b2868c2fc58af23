//! Time limits of a connection, in virtual time.

use hubward_sas::{SasToken, SharedKey, UnixSeconds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::state::model::Key;

struct World {
    cloud: Arc<Cloud>,
    client: DuplexStream,
    served: JoinHandle<()>,
    started: Instant,
}

/// Creates a client that has not sent its CONNECT yet. The pipe to the server holds `pipe` bytes.
fn world(pipe: usize) -> (World, SharedKey) {
    let key = SharedKey::generate().expect("a key");
    let cloud = Cloud::for_tests(&key);
    let (client, server) = duplex(pipe);
    let served = tokio::spawn({
        let cloud = Arc::clone(&cloud);
        async move {
            let connection = crate::doors::admission::Admission::new(1).admit().await;
            serve(&cloud, server, None, &connection.entry).await;
        }
    });
    (World { cloud, client, served, started: Instant::now() }, key)
}

fn connect(world: &World, key: &SharedKey, keep_alive: u16) -> Vec<u8> {
    let expiry = UnixSeconds(world.cloud.clock.unix().0 + 100_000);
    let token = SasToken::sign(key, "localhost/devices/d1", expiry, None);
    let mut rest = b"\x00\x04MQTT\x04\xc6".to_vec();
    rest.extend_from_slice(&keep_alive.to_be_bytes());
    for text in ["d1", "devices/d1/messages/events/", "gone", "localhost/d1", token.expose()] {
        rest.extend_from_slice(&u16::try_from(text.len()).expect("short").to_be_bytes());
        rest.extend_from_slice(text.as_bytes());
    }
    assert!((128..16_384).contains(&rest.len()), "two bytes of length");
    let mut packet = vec![0x10, (rest.len() & 0x7f) as u8 | 0x80, (rest.len() >> 7) as u8];
    packet.extend(rest);
    packet
}

async fn logged_in(pipe: usize, keep_alive: u16) -> World {
    let (mut world, key) = world(pipe);
    let bytes = connect(&world, &key, keep_alive);
    world.client.write_all(&bytes).await.expect("sent");
    let mut connack = [0; 4];
    world.client.read_exact(&mut connack).await.expect("a CONNACK");
    assert_eq!(&connack, b"\x20\x02\x00\x00");
    world
}

fn seconds(world: &World) -> u64 {
    world.started.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_sends_connect_is_dropped_after_a_minute() {
    for bytes in [&b""[..], b"\x10", b"\x10\x40\x00\x04MQTT"] {
        let (mut world, _) = world(1024);
        world.client.write_all(bytes).await.expect("sent");
        (&mut world.served).await.expect("no panic");
        assert_eq!(seconds(&world), 60, "{bytes:x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection_at_one_and_a_half_keep_alives() {
    for (keep_alive, expected) in [(60, 90), (1000, 1500), (0, 1767), (u16::MAX, 1767)] {
        let mut world = logged_in(1024, keep_alive).await;
        assert_eq!(world.client.read(&mut [0; 16]).await.expect("the end"), 0);
        assert_eq!(seconds(&world), expected, "{keep_alive}");
        (&mut world.served).await.expect("no panic");
        // The will is published.
        let log = &world.cloud.logs["localhost"];
        assert_eq!(log.all()[0].body_text(), "gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_restarts_the_keep_alive_and_half_a_packet_does_not() {
    let mut world = logged_in(1024, 60).await;
    sleep(Duration::from_secs(80)).await;
    world.client.write_all(b"\xc0\x00").await.expect("sent");
    let mut pong = [0; 2];
    world.client.read_exact(&mut pong).await.expect("an answer");
    assert_eq!(&pong, b"\xd0\x00");
    // Send the first bytes of a publish, 15 s apart, and never complete it. These bytes must not restart the
    // keep-alive.
    for byte in [0x30, 0x20, 0x00, 0x1b, b'd'] {
        sleep(Duration::from_secs(15)).await;
        world.client.write_all(&[byte]).await.expect("sent");
    }
    assert_eq!(world.client.read(&mut [0; 16]).await.expect("the end"), 0);
    assert_eq!(seconds(&world), 80 + 90);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped() {
    // The pipe has room for the CONNACK and little more.
    let mut world = logged_in(64, 0).await;
    let pings = b"\xc0\x00".repeat(4096);
    let sent = world.client.write_all(&pings).await;
    assert!(sent.is_err(), "the emulator went on reading although nothing could be sent");
    (&mut world.served).await.expect("no panic");
    assert!(seconds(&world) < 60, "{}", seconds(&world));
}

#[tokio::test(start_paused = true)]
async fn a_device_is_connected_only_from_its_slot_until_its_connection_ends() {
    let key = SharedKey::generate().expect("a key");
    let cloud = Cloud::for_tests(&key);
    let admission = crate::doors::admission::Admission::new(1);
    let first = admission.admit().await;
    let mut slot = first.entry.acquire_slot().await;
    let is_live = || cloud.store.read(|it| it.live.is_live(&Key::Hub("localhost".into(), "d1".into())));
    for evicted in [true, false] {
        let (client, server) = duplex(1024);
        let connection = admission.admit().await;
        let served = tokio::spawn({
            let cloud = Arc::clone(&cloud);
            async move {
                let entry = Arc::clone(&connection.entry);
                tokio::select! {
                    () = serve(&cloud, server, None, &entry) => {}
                    () = connection.evicted() => {}
                }
            }
        });
        let mut world = World { cloud: Arc::clone(&cloud), client, served, started: Instant::now() };
        let bytes = connect(&world, &key, 60);
        world.client.write_all(&bytes).await.expect("sent");
        // Virtual time passes only when every task is idle. After this sleep, the server has therefore read the
        // CONNECT, and the connection is still within its grace period.
        sleep(Duration::from_millis(500)).await;
        assert!(!is_live(), "it waits for a slot");
        if evicted {
            admission.evict(1);
            world.served.await.expect("no panic");
            assert!(!is_live(), "an evicted connection leaves no trace");
            continue;
        }
        slot = None;
        world.client.read_exact(&mut [0; 4]).await.expect("a CONNACK");
        assert!(is_live());
        world.served.abort();
        assert!(world.served.await.is_err());
        assert!(!is_live(), "aborting the task ends the connection too");
    }
    drop(slot);
}
