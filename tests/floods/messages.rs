//! More messages than a program takes.

use std::time::Duration;

use hubward_tests::packets;

use super::child::{End, withstands, withstands_read};
use super::peer::{Begin, DEVICE, Flood};

/// Messages at quality of service 1, each as large as given, whatever is acknowledged.
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
    const BEGIN: Begin = Begin::Subscription("devices/");

    fn next(&mut self, out: &mut Vec<u8>) {
        self.id = self.id.checked_add(1).unwrap_or(1);
        let topic = format!("devices/{DEVICE}/messages/devicebound/k=v");
        out.extend(packets::publish(&topic, &vec![b'x'; self.size], 1, self.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_large_messages_that_are_received() {
    let run = withstands(&["c2d", "receive"], End::For, || Messages::of(200_000)).await;
    assert!(run.log.len() < 50, "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_small_messages_that_a_device_receives() {
    let run = withstands(&["run"], End::Interrupt, || Messages::of(10)).await;
    assert!(run.log.len() < 50, "{run:?}");
}

/// 3 MB of output in a second, of the hundreds of MB that the hub sends.
#[tokio::test(flavor = "multi_thread")]
async fn of_messages_to_a_program_that_takes_them_slowly() {
    let pause = Duration::from_millis(20);
    let run = withstands_read(&["c2d", "receive"], End::For, pause, || Messages::of(60_000)).await;
    assert!(run.log.len() < 50, "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_large_messages_that_are_only_shown() {
    let run = withstands(&["c2d", "receive", "--no-complete"], End::For, || Messages::of(200_000)).await;
    assert!(run.log.len() < 50, "{run:?}");
}
