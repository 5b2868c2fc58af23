mod damage;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{Builder, StorageBackend};

use super::*;
use crate::state::telemetry::TelemetryLog;

/// Storage that can run out of space.
#[derive(Debug, Clone, Default)]
struct Backend {
    bytes: Arc<redb::backends::InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl Backend {
    fn check(&self) -> Result<(), io::Error> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        Ok(())
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.check()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.check()?;
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.check()?;
        self.bytes.write(offset, data)
    }
}

/// A disk, and a flag. While the flag is set, the storage has no space left.
fn disk(logs: &BTreeMap<String, TelemetryLog>) -> (Disk, Arc<AtomicBool>) {
    let backend = Backend::default();
    let full = Arc::clone(&backend.full);
    let database = Builder::new().create_with_backend(backend.clone()).expect("a database");
    tables::write_new(&database).expect("there is room");
    drop(database);
    let state = &mut State::default();
    let disk = file::start(Ok(backend), "state.redb".into(), None, state, logs).expect("it is new");
    (disk, full)
}

fn put(key: &str) -> [Write; 1] {
    [Write::Put(key.to_owned(), b"1".to_vec())]
}

#[tokio::test]
async fn flushed_waits_for_earlier_changes() {
    let (disk, _) = disk(&BTreeMap::new());
    disk.flushed().await.expect("nothing waits");
    for number in 0..100 {
        disk.enqueue(put(&format!("record\0{number}")));
        disk.flushed().await.expect("written");
        assert_eq!(disk.queue.progress.borrow().written, number + 1);
    }
    // `written` counts changes, not rows. This second change of a row is the 101st change. The change of `last` below
    // is the 102nd change.
    disk.enqueue(put("record\x001"));
    disk.flushed().await.expect("written");
    // After `close`, queued changes are still written. Later changes are neither written nor acknowledged.
    disk.enqueue(put("record\0last"));
    disk.close();
    disk.enqueue(put("record\0late"));
    disk.closed().await;
    assert_eq!(disk.queue.progress.borrow().written, 102);
    let lost = disk.flushed().await.expect_err("it is not written");
    assert_eq!(lost.why, "the emulator has shut down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn room_waits_until_the_queue_is_short() {
    let (disk, _) = disk(&BTreeMap::new());
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..4_u8 {
        let disk = disk.clone();
        senders.spawn(async move {
            for number in 0..4 {
                let value = vec![number; MAX_WAITING / 4];
                disk.enqueue([Write::Put(format!("record\0{sender}"), value)]);
                disk.room().await;
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("no panic");
    }
    disk.flushed().await.expect("written");
    assert_eq!(disk.queue.pending().size, 0);
}

#[tokio::test]
async fn a_full_disk_stops_all_acknowledgements_and_is_reported() {
    let logs = BTreeMap::from([("hub".to_owned(), TelemetryLog::new(10))]);
    let (disk, full) = disk(&logs);
    disk.enqueue(put("record\0a"));
    disk.flushed().await.expect("there is room");
    assert_eq!(disk.failure(), None);
    full.store(true, Ordering::SeqCst);
    let log = &logs["hub"];
    let message = hubward_proto::hub::Message::new("x");
    log.append(crate::state::telemetry::Telemetry::new(&Arc::default(), "now".into(), message));
    let lost = disk.flushed().await.expect_err("the disk is full");
    assert_eq!(
        lost.to_string(),
        "the state cannot be written to state.redb: I/O error: no space left on device; the emulator acknowledges \
         nothing more"
    );
    assert_eq!(disk.failed().await, lost);
    assert_eq!((log.total(), log.all().len()), (0, 0), "readers do not see messages that are not on disk");
    // After the failure, changes are neither queued nor acknowledged, even if the disk has free space again.
    full.store(false, Ordering::SeqCst);
    disk.enqueue(put("record\0b"));
    assert_eq!(disk.flushed().await.expect_err("it is too late"), lost);
    assert!(disk.queue.pending().writes.is_empty());
    disk.room().await;
    disk.closed().await;
}

#[test]
fn below_and_after_enclose_the_rows_of_a_key() {
    let below = rows::below(&["post", "hub", "d1"]);
    let end = rows::after(&below);
    for (device, inside) in [("d1", true), ("d1/m1", false), ("d10", false), ("d", false)] {
        let key = rows::key(&["post", "hub", device, "1"]);
        assert_eq!((below.as_str()..end.as_str()).contains(&key.as_str()), inside, "{device}");
    }
}

#[tokio::test]
async fn telemetry_is_read_in_parts_and_missing_messages_are_detected() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = || {
        let logs = BTreeMap::from([("hub".to_owned(), TelemetryLog::new(100_000))]);
        open(folder.path(), &mut State::default(), &logs).map(|disk| (disk, logs))
    };
    let (disk, logs) = opened().expect("a new one");
    let origins = ["d1", "d2"].map(|device| {
        let (device_id, generation_id) = (device.to_owned(), "1".to_owned());
        Arc::new(crate::state::telemetry::Origin { device_id, generation_id, scope: "device", ..Default::default() })
    });
    for number in 0..9_001_usize {
        let message = hubward_proto::hub::Message::new(number.to_string()).flag("f").message_id("ü");
        let origin = &origins[usize::from(number % 5 == 0)];
        logs["hub"].append(crate::state::telemetry::Telemetry::new(origin, format!("at {number}"), message));
    }
    disk.flushed().await.expect("written");
    let before = logs["hub"].all();
    assert_eq!(before.len(), 9_001);
    disk.close();
    disk.closed().await;
    let (disk, logs) = opened().expect("it is whole");
    assert_eq!(logs["hub"].all(), before);
    disk.close();
    disk.closed().await;

    let database = redb::Database::open(folder.path().join("state.redb")).expect("it is closed");
    let writing = database.begin_write().expect("a transaction");
    writing.open_table(tables::TELEMETRY).expect("the table").remove(("hub", 4_321)).expect("removed");
    writing.commit().expect("written");
    drop(database);
    let error = opened().expect_err("one is missing").to_string();
    assert!(error.contains("1 of 9001 messages in the telemetry of hub `hub` cannot be read"), "{error}");
}
