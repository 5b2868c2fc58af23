//! A state with at least one item of every kind, and copies of its file at three points in time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hubward_emulator::{Ack, CloudToDevice, Emulator, Seed};
use hubward_sas::SharedKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::FILE;
use crate::client::{QOS1, publish, receive, send};
use crate::state::{HUB, change_everything, pump, seen, start};

/// Copies of the state file of a data directory, and the state that the file contains.
pub(super) struct Population {
    folder: TempDir,
    /// The bytes of `state.redb` some commits before the end.
    pub(super) earlier: Vec<u8>,
    /// The same file after the emulator was killed.
    pub(super) killed: Vec<u8>,
    /// The same file after an orderly shutdown.
    pub(super) closed: Vec<u8>,
    /// The state as an emulator shows it.
    pub(super) seen: Value,
}

impl Population {
    pub(super) async fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let emulator = start(folder.path()).await;
        let (key, _) = change_everything(&emulator).await;
        emulator.import(&many()).expect("it fits");
        talk(&emulator, &key, 1_200).await;
        emulator.flush().await.expect("written");
        emulator.shutdown().await;
        let earlier = std::fs::read(folder.path().join(FILE)).expect("the file");

        let emulator = start(folder.path()).await;
        for number in 0..40 {
            let id = format!("machine-{number:03}");
            emulator.patch_tags(HUB, &id, json!({ "site": "moved", "number": number })).expect("fine");
            let message = CloudToDevice::new("x".repeat(500)).ack(Ack::Full).expires_after(Duration::from_secs(36_000));
            emulator.send_to_device(HUB, &id, message).expect("sent");
            emulator.flush().await.expect("written");
        }
        talk(&emulator, &key, 300).await;
        emulator.flush().await.expect("written");
        let seen = seen(&emulator);
        let killed = std::fs::read(folder.path().join(FILE)).expect("the file");
        emulator.shutdown().await;
        let closed = std::fs::read(folder.path().join(FILE)).expect("the file");
        Self { folder, earlier, killed, closed, seen }
    }

    /// A data directory with these bytes in place of the state.
    pub(super) fn with(&self, bytes: &[u8]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in std::fs::read_dir(self.folder.path()).expect("the folder") {
            let file = file.expect("a file").path();
            std::fs::copy(&file, beside(folder.path(), &file)).expect("copied");
        }
        std::fs::write(folder.path().join(FILE), bytes).expect("written");
        folder
    }
}

fn beside(folder: &Path, file: &Path) -> PathBuf {
    folder.join(file.file_name().expect("a name"))
}

/// Enough devices and enrollments to fill several pages.
fn many() -> Seed {
    let device = |number: usize| {
        json!({ "deviceId": format!("machine-{number:03}"), "tags": { "site": "north", "number": number },
                "properties": { "desired": { "interval": number }, "reported": { "on": true } } })
    };
    let enrollment = |number: usize| json!({ "registrationId": format!("enrolled-{number:03}") });
    let seed = json!({
        "devices": (0..120).map(device).collect::<Vec<_>>(),
        "enrollments": (0..40).map(enrollment).collect::<Vec<_>>(),
    });
    Seed::from_json(&seed.to_string()).expect("a seed")
}

/// Sends messages and waits for their acknowledgements.
async fn talk(emulator: &Emulator, key: &SharedKey, count: u16) {
    let mut stream = pump(emulator, key, 1).await;
    for first in (1..=count).step_by(100) {
        let mut packets = Vec::new();
        for id in first..first + 100 {
            let body = format!("reading {id} {}", "x".repeat(usize::from(id % 90)));
            packets.extend(publish(QOS1, "devices/pump/messages/events/a=b", id, body.as_bytes()));
        }
        send(&mut stream, &packets).await;
        for _ in 0..100 {
            while receive(&mut stream).await.expect("it stays")[0] != 0x40 {}
        }
    }
}
