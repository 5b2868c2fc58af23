//! The operations of a write: their order, and what a start finds after a crash or an error at each of them.

use std::io;

use super::super::certificate_store::StoredCertificates;
use super::super::private_file::{PrivateFile, Step};
use super::*;

const STEPS: [Step; 5] = [Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncFolder];

/// The files of a folder: names and contents.
type Snapshot = Vec<(String, Vec<u8>)>;

fn snapshot(folder: &Path) -> Snapshot {
    names(folder).into_iter().map(|it| (it.clone(), fs::read(folder.join(&it)).expect("a file"))).collect()
}

/// The states in which a crash during a write of `new` over `old` can leave the folder. If the temporary file is not
/// synced yet, it can contain any part of its content.
fn crashes(old: Option<&[u8]>, new: &[u8]) -> Vec<Snapshot> {
    let (folder, path) = folder();
    if let Some(old) = old {
        fs::write(&path, old).expect("written");
    }
    let (mut states, mut steps) = (Vec::new(), Vec::new());
    let file = PrivateFile::new(path, "test");
    let replaced = file.replace_in_steps(new, &mut |step| {
        steps.push(step);
        let state = snapshot(folder.path());
        if step == Step::SyncFile {
            for length in [0, 1, new.len() / 2, new.len() - 1] {
                let cut = |(name, bytes): &(String, Vec<u8>)| {
                    let length = if name.ends_with(".new") { length } else { bytes.len() };
                    (name.clone(), bytes[..length].to_vec())
                };
                states.push(state.iter().map(cut).collect());
            }
        }
        states.push(state);
        Ok(())
    });
    replaced.expect("replaced");
    assert_eq!(steps, STEPS);
    states.push(snapshot(folder.path()));
    states
}

/// Creates the files of a snapshot in a new folder.
fn restore(state: &Snapshot) -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    for (name, bytes) in state {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    (folder, path)
}

#[test]
fn after_a_crash_at_any_step_the_cache_is_the_old_or_the_new_one() {
    let bytes_of = |number| {
        let (_folder, path) = folder();
        AssignmentCache::open(&path, binding()).0.store(&assignment(number)).expect("stored");
        fs::read(path).expect("a file")
    };
    for old in [None, Some(1)] {
        let old_bytes = old.map(bytes_of);
        let (mut found_old, mut found_new) = (0, 0);
        for state in crashes(old_bytes.as_deref(), &bytes_of(2)) {
            let (folder, path) = restore(&state);
            let (_, found, warning) = AssignmentCache::open(&path, binding());
            assert_eq!(warning, None, "{state:?}");
            match found {
                it if it == old.map(assignment) => found_old += 1,
                it if it == Some(assignment(2)) => found_new += 1,
                it => panic!("{it:?}"),
            }
            assert!(!names(folder.path()).iter().any(|it| it.ends_with(".new")), "the start removes temporary files");
        }
        assert_eq!((found_old, found_new), (8, 2), "old until the new name is there");
    }
}

#[test]
fn after_a_crash_at_any_step_of_an_issuance_the_pair_is_the_old_or_the_new_one() {
    type Change = fn(&mut CertificateStore);
    // A renewal, with a first pair before it, and what the hub may say about the new pair.
    let changes: [(&str, Change); 6] = [
        ("begin", |it| it.begin(pending(1)).expect("stored")),
        ("discard", |it| it.discard_pending().expect("stored")),
        ("begin again", |it| it.begin(pending(2)).expect("stored")),
        ("finish", |it| {
            it.finish(PAIRS[2].chain.clone(), UnixSeconds(2)).expect("stored");
        }),
        ("revert", |it| it.revert().expect("stored")),
        ("revert to nothing", |it| it.revert().expect("stored")),
    ];
    let (_folder, path) = folder();
    let mut store = CertificateStore::open(&path, binding()).0;
    store.begin(pending(0)).expect("stored");
    store.finish(PAIRS[0].chain.clone(), UnixSeconds(1)).expect("stored");
    for (what, change) in changes {
        let (old, old_bytes) = (store.content(), fs::read(&path).expect("a file"));
        change(&mut store);
        let (new, new_bytes) = (store.content(), fs::read(&path).expect("a file"));
        assert_ne!(old, new, "{what}");
        for state in crashes(Some(&old_bytes), &new_bytes) {
            let (_folder, path) = restore(&state);
            let (_, found, warning) = CertificateStore::open(&path, binding());
            assert_eq!(warning, None, "{what}");
            assert!(found == old || found == new, "{what}: {found:?}");
            check_pairs(&found);
        }
    }
}

/// Each stored pair is one of `PAIRS`.
fn check_pairs(content: &StoredCertificates) {
    for issued in content.current.iter().chain(&content.previous) {
        assert!(PAIRS.iter().any(|it| it.chain == issued.certificate.chain()), "{issued:?}");
    }
}

#[test]
fn an_error_at_any_step_keeps_the_old_file_and_leaves_no_other() {
    for failing in STEPS {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
            let (folder, path) = folder();
            fs::write(&path, "old").expect("written");
            let file = PrivateFile::new(path.clone(), "test file");
            let error = file
                .replace_in_steps(b"new", &mut |step| if step == failing { Err(kind.into()) } else { Ok(()) })
                .expect_err("an error");
            let expected = format!("the test file `{}` cannot be written: {kind}", path.display());
            assert_eq!(error.to_string(), expected);
            assert_eq!(names(folder.path()), ["device.json"], "{failing:?}");
            let is_new = failing == Step::SyncFolder;
            assert_eq!(fs::read(&path).expect("a file"), if is_new { b"new" } else { b"old" }, "{failing:?}");
        }
    }
}

#[test]
fn a_write_begins_again_if_another_process_removes_its_temporary_file() {
    let (folder, path) = folder();
    let file = PrivateFile::new(path, "test");
    for (limit, content) in [(2, Some("new")), (u32::MAX, None)] {
        let mut removals = 0;
        let replaced = file.replace_in_steps(b"new", &mut |step| {
            if step == Step::Rename && removals < limit {
                removals += 1;
                file.sweep();
            }
            Ok(())
        });
        assert_eq!(replaced.is_ok(), content.is_some(), "{replaced:?}");
        assert_eq!(removals, limit.min(3), "the attempts end");
        let found = fs::read_to_string(folder.path().join("device.json")).expect("a file");
        assert_eq!((found.as_str(), names(folder.path()).len()), ("new", 1));
    }
}

#[test]
fn a_start_removes_only_its_own_temporary_files() {
    let (folder, path) = folder();
    let others = [
        "device.json.0123456789abcde.new",
        "device.json.0123456789abcdefg.new",
        "device.json.new",
        "device.json.x123456789abcdef.new",
        "other.json.0123456789abcdef.new",
    ];
    for name in others.iter().chain(&["device.json.0123456789abcdef.new", "device.json.ffffffffffffffff.new"]) {
        fs::write(folder.path().join(name), "x").expect("written");
    }
    fs::create_dir(folder.path().join("device.json.0000000000000000.new")).expect("a folder");
    AssignmentCache::open(&path, binding());
    let mut expected = [&others[..], &["device.json.0000000000000000.new"]].concat();
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn writers_of_one_file_do_not_mix_their_contents() {
    let (folder, path) = folder();
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let path = path.clone();
            scope.spawn(move || {
                let file = PrivateFile::new(path, "test");
                for round in 0..50 {
                    // Each content has its own length.
                    let length = usize::from(writer) * 1000 + round;
                    file.replace(&vec![b'a' + writer; length + 1]).expect("replaced");
                    let bytes = file.read().expect("readable").expect("a file");
                    assert!(bytes.iter().all(|it| *it == bytes[0]), "a mixed file");
                    assert_eq!(usize::from(bytes[0] - b'a'), (bytes.len() - 1) / 1000, "a half file");
                }
            });
        }
    });
    assert_eq!(names(folder.path()), ["device.json"]);
}

#[test]
fn a_content_that_is_too_large_to_read_is_not_written() {
    let (folder, path) = folder();
    let mut cache = AssignmentCache::open(&path, binding()).0;
    let large = CachedAssignment { etag: Some("x".repeat(70_000)), ..assignment(1) };
    let error = cache.store(&large).expect_err("too large").to_string();
    assert!(error.contains("it would have 70"), "{error}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}
