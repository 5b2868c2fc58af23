//! Tests of damaged rows in a file whose pages are intact.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, WriteTransaction};

use super::super::migrate::{OLD_ROWS, OLD_TELEMETRY};
use super::super::sums::{sealed, value_of};
use super::super::tables::{ABOUT, FORMAT_KEY, ROWS, TELEMETRY};
use super::*;
use crate::state::model::Post;

const HUB: &str = "hub";

type Logs = BTreeMap<String, TelemetryLog>;

/// Opens a directory with an emulator that has these hubs.
fn opened(folder: &Path, hubs: &[&str]) -> Result<(Disk, State, Logs), StateError> {
    let logs: Logs = hubs.iter().map(|it| ((*it).to_owned(), TelemetryLog::new(100))).collect();
    let mut state = State::new(hubs.iter().copied());
    let disk = open(folder, &mut state, &logs)?;
    Ok((disk, state, logs))
}

fn refusal(folder: &Path) -> StateError {
    opened(folder, &[HUB]).map(|_| ()).expect_err("it is damaged")
}

async fn closed(disk: Disk) {
    disk.flushed().await.expect("written");
    disk.close();
    disk.closed().await;
}

/// Creates a file with enrollment records, devices of two hubs, and their telemetry.
async fn populated(folder: &Path) {
    let (disk, mut state, logs) = opened(folder, &[HUB, "other"]).expect("a new one");
    for (number, hub) in [HUB, HUB, HUB, "other"].into_iter().enumerate() {
        let now = std::time::SystemTime::UNIX_EPOCH;
        let mut device = crate::state::model::Device::with_keys(keys(), now);
        let (topic, message_id) = ("devices/x/messages/devicebound/".to_owned(), number.to_string());
        let post = Post { topic, body: "body".into(), message_id, ack: None, input: None };
        device.queue.put(Arc::new(post), now, now + std::time::Duration::from_secs(60)).expect("there is room");
        state.hubs.get_mut(hub).expect("the hub").devices.insert(format!("d{number}"), device);
        state.policies.insert(format!("policy-{number}"), keys());
        for body in ["one", "two"] {
            let message = hubward_proto::hub::Message::new(body);
            logs[hub].append(crate::state::telemetry::Telemetry::new(&Arc::default(), "now".into(), message));
        }
        disk.changed(&mut state);
    }
    closed(disk).await;
}

fn keys() -> crate::state::model::KeyPair {
    let key = || hubward_sas::SharedKey::from_base64("AAECAwQFBgcICQoLDA0ODw==").expect("a key");
    crate::state::model::KeyPair { primary: key(), secondary: key() }
}

/// Changes a file while no emulator has it open.
fn changed(folder: &Path, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(folder.join("state.redb")).expect("it is closed");
    let writing = database.begin_write().expect("a transaction");
    change(&writing);
    writing.commit().expect("written");
}

fn stored(folder: &Path, key: &str) -> Vec<u8> {
    let database = Database::open(folder.join("state.redb")).expect("it is closed");
    let rows = database.begin_read().expect("a transaction").open_table(ROWS).expect("the table");
    rows.get(key).expect("read").expect("a row").value().to_vec()
}

fn put(writing: &WriteTransaction, key: &str, value: &[u8]) {
    writing.open_table(ROWS).expect("the table").insert(key, value).expect("written");
}

#[tokio::test]
async fn changed_and_missing_rows_are_reported_by_kind_and_hub() {
    type Change = fn(&Path, &WriteTransaction, &[Vec<u8>]);
    let cases: [(&str, Change, &str); 9] = [
        (
            "a row is gone that others belong to",
            |_, writing, _| drop(writing.open_table(ROWS).expect("the table").remove("device\0hub\0d2").expect("gone")),
            "1 of 3 devices and modules of hub `hub` cannot be read",
        ),
        (
            "a row is gone",
            |_, writing, _| drop(writing.open_table(ROWS).expect("the table").remove("device\0hub\0d1").expect("gone")),
            "1 of 3 devices and modules of hub `hub` cannot be read",
        ),
        (
            "two values are swapped",
            |_, writing, values| {
                put(writing, "device\0hub\0d0", &values[1]);
                put(writing, "device\0hub\0d1", &values[0]);
            },
            "2 of 3 devices and modules of hub `hub` cannot be read (`d0`, `d1`)",
        ),
        (
            "a value is changed",
            |_, writing, values| {
                let mut value = values[2].clone();
                *value.last_mut().expect("a byte") ^= 1;
                put(writing, "device\0other\0d3", &value);
            },
            "1 of 1 devices and modules of hub `other` cannot be read (`d3`)",
        ),
        (
            "a value is an older one, with its own checksum",
            |_, writing, values| {
                let older = sealed("device\0hub\0d0", &[value_of(&values[0]), b" "].concat());
                put(writing, "device\0hub\0d0", &older);
            },
            "some of 3 devices and modules of hub `hub` are out of date",
        ),
        (
            "the last messages are gone",
            |_, writing, _| {
                let mut telemetry = writing.open_table(TELEMETRY).expect("the table");
                telemetry.remove(("hub", 5)).expect("gone");
                telemetry.remove(("hub", 4)).expect("gone");
            },
            "2 of 6 messages in the telemetry of hub `hub` cannot be read",
        ),
        (
            "a message of a hub that is not configured is another one",
            |_, writing, values| {
                let mut telemetry = writing.open_table(TELEMETRY).expect("the table");
                telemetry.insert(("other", 1), values[0].as_slice()).expect("written");
            },
            "1 of 2 messages in the telemetry of hub `other` cannot be read (offset 1)",
        ),
        (
            "a row is gone, and another one is damaged",
            |_, writing, _| {
                put(writing, "policy\0policy-1", b"no");
                writing.open_table(TELEMETRY).expect("the table").remove(("hub", 0)).expect("gone");
            },
            "1 of 4 policy keys cannot be read (`policy-1`); \
             1 of 6 messages in the telemetry of hub `hub` cannot be read",
        ),
        (
            "the list of contents is damaged",
            |_, writing, _| {
                writing.open_table(ABOUT).expect("the table").insert("sums", "00000000{}").expect("written");
            },
            "its checksum list is unreadable, so it is unknown whether its 20 rows are complete",
        ),
    ];
    for (name, change, expected) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        populated(folder.path()).await;
        let keys = ["device\0hub\0d0", "device\0hub\0d1", "device\0other\0d3"];
        let values = keys.map(|key| stored(folder.path(), key));
        changed(folder.path(), |writing| change(folder.path(), writing, &values));
        let before = std::fs::read(folder.path().join("state.redb")).expect("the file");
        let error = refusal(folder.path());
        let StateError::Damaged { affected, .. } = &error else { panic!("{name}: {error}") };
        assert_eq!(affected, expected, "{name}");
        let text = error.to_string();
        assert!(
            text.contains("state.redb is damaged: ") && text.contains("move it away to start with an empty state"),
            "{text}"
        );
        assert!(std::fs::read(folder.path().join("state.redb")).expect("the file") == before, "{name}");
    }
}

#[tokio::test]
async fn an_older_copy_is_reported_and_can_be_used_on_purpose() {
    let folder = tempfile::tempdir().expect("a folder");
    populated(folder.path()).await;
    let older = std::fs::read(folder.path().join("state.redb")).expect("the file");
    let (disk, mut state, _) = opened(folder.path(), &[HUB]).expect("it is whole");
    state.policies.remove("policy-0");
    disk.changed(&mut state);
    closed(disk).await;

    std::fs::write(folder.path().join("state.redb"), &older).expect("written");
    let error = refusal(folder.path());
    let StateError::Older { found, acknowledged, .. } = &error else { panic!("{error}") };
    assert_eq!(found + 1, *acknowledged);
    let text = error.to_string();
    assert!(text.contains("older than the last acknowledged change") && text.contains("state.commit"), "{text}");

    std::fs::remove_file(folder.path().join("state.commit")).expect("removed");
    let (disk, state, _) = opened(folder.path(), &[HUB]).expect("it is used on purpose");
    assert_eq!(state.policies.len(), 4);
    closed(disk).await;

    // `state.commit` still contains the mark of the deleted state file. The emulator must ignore this mark for the new
    // file.
    std::fs::remove_file(folder.path().join("state.redb")).expect("removed");
    let (disk, state, _) = opened(folder.path(), &[HUB]).expect("a new one");
    assert_eq!(state.policies.len(), 0);
    closed(disk).await;
}

#[tokio::test]
async fn a_file_of_format_1_is_migrated_and_gets_checksums() {
    let folder = tempfile::tempdir().expect("a folder");
    populated(folder.path()).await;
    // Turn the file into a file of format 1, which has other tables, and values without checksums.
    changed(folder.path(), |writing| {
        let mut old = writing.open_table(OLD_ROWS).expect("a table");
        for row in writing.open_table(ROWS).expect("the table").iter().expect("rows") {
            let (key, stored) = row.expect("a row");
            old.insert(key.value(), value_of(stored.value())).expect("written");
        }
        let mut old = writing.open_table(OLD_TELEMETRY).expect("a table");
        for row in writing.open_table(TELEMETRY).expect("the table").iter().expect("rows") {
            let (key, stored) = row.expect("a row");
            old.insert(key.value(), value_of(stored.value())).expect("written");
        }
        writing.open_table(ABOUT).expect("the table").insert(FORMAT_KEY, "1").expect("written");
        writing.open_table(ABOUT).expect("the table").remove("sums").expect("gone");
    });
    changed(folder.path(), |writing| {
        writing.delete_table(ROWS).expect("gone");
        writing.delete_table(TELEMETRY).expect("gone");
    });
    let old = std::fs::read(folder.path().join("state.redb")).expect("the file");
    for _ in 0..2 {
        let (disk, state, logs) = opened(folder.path(), &[HUB, "other"]).expect("it is whole");
        assert_eq!((state.policies.len(), state.hubs[HUB].devices.len()), (4, 3));
        let bodies: Vec<_> = logs[HUB].all().iter().map(|it| it.body_text()).collect();
        assert_eq!(bodies, ["one", "two", "one", "two", "one", "two"]);
        closed(disk).await;
    }
    changed(folder.path(), |writing| put(writing, "device\0hub\0d1", b"no"));
    assert!(refusal(folder.path()).to_string().contains("1 of 3 devices"), "{}", refusal(folder.path()));

    // The file has no row checksums, but redb has page checksums.
    let bodies: Vec<usize> = (0..old.len() - 3).filter(|at| old[*at..].starts_with(b"two")).collect();
    let mut damaged = old.clone();
    bodies.iter().for_each(|at| damaged[*at] ^= 0x20);
    std::fs::write(folder.path().join("state.redb"), &damaged).expect("written");
    std::fs::remove_file(folder.path().join("state.commit")).expect("removed");
    let error = refusal(folder.path());
    assert!(error.to_string().contains("some of its pages have changed"), "{error}");
    assert!(std::fs::read(folder.path().join("state.redb")).expect("the file") == damaged);
}
