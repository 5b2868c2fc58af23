//! Floods of cloud-to-device messages.

use std::time::Duration;

use hubward_tests::packets;

use super::child::{End, withstands, withstands_read};
use super::peer::{DEVICE, Flood, Start};

/// Sends messages of a given size with QoS 1, without waiting for acknowledgements.
#[derive(Debug)]
struct Messages {
    size: usize,
    id: u16,
}

impl Messages {
    const fn of(size: usize) -> Self {
        Self { size, id: 0 }
    }
}

impl Flood for Messages {
    const START: Start = Start::Subscription("devices/");

    fn next(&mut self, out: &mut Vec<u8>) {
        self.id = self.id.checked_add(1).unwrap_or(1);
        let topic = format!("devices/{DEVICE}/messages/devicebound/k=v");
        out.extend(packets::publish(&topic, &vec![b'x'; self.size], 1, self.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_large_messages_that_are_completed() {
    let run = withstands(&["c2d", "receive"], End::For, || Messages::of(200_000)).await;
    assert!(run.log.len() < 50, "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_small_messages_that_a_device_receives() {
    let run = withstands(&["run"], End::Interrupt, || Messages::of(10)).await;
    assert!(run.log.len() < 50, "{run:?}");
}

/// The test reads 3 MB of the command's output per second, while the hub sends hundreds of MB. The command must not
/// keep the difference in memory.
#[tokio::test(flavor = "multi_thread")]
async fn of_messages_while_the_output_is_read_slowly() {
    let pause = Duration::from_millis(20);
    let run = withstands_read(&["c2d", "receive"], End::For, pause, || Messages::of(60_000)).await;
    assert!(run.log.len() < 50, "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_large_messages_that_are_not_completed() {
    let run = withstands(&["c2d", "receive", "--no-complete"], End::For, || Messages::of(200_000)).await;
    assert!(run.log.len() < 50, "{run:?}");
}
