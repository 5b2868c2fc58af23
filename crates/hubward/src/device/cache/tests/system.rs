//! What is only on Unix: modes, links, pipes, devices.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::super::private_file::{PrivateFile, Step};
use super::super::{SetAside, SetAsideReason};
use super::*;

/// A start that must not hang. Returns the warning, and the error of a later store.
fn start(path: &Path) -> (Option<SetAside>, Option<String>) {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let (mut cache, found, warning) = AssignmentCache::open(path, binding());
        assert_eq!(found, None);
        let stored = cache.store(&assignment(1));
        // The receiver is gone only if the test has failed already.
        let _ = sender.send((warning, stored.err().map(|it| it.problem)));
    });
    receiver.recv_timeout(Duration::from_secs(60)).expect("the start does not hang")
}

#[test]
fn only_this_user_can_read_the_file_from_its_creation_on() {
    let (folder, path) = folder();
    fs::write(&path, "old").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("set");
    let mut modes = Vec::new();
    let file = PrivateFile::new(path.clone(), "test");
    let replaced = file.replace_in_steps(b"new", &mut |step| {
        for name in names(folder.path()).iter().filter(|it| it.ends_with(".new")) {
            modes.push((step, fs::metadata(folder.path().join(name)).expect("a file").mode() & 0o7777));
        }
        Ok(())
    });
    replaced.expect("replaced");
    assert_eq!(modes, [(Step::Write, 0o600), (Step::SyncFile, 0o600), (Step::Rename, 0o600)]);
    assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o7777, 0o600);
}

#[test]
fn something_else_with_this_name_stays_and_does_not_prevent_a_start() {
    type Make = fn(&Path);
    let cases: [(Make, &str); 6] = [
        (|it| fs::create_dir(it).expect("a folder"), "a folder"),
        (|it| symlink("nothing", it).expect("a link"), "a symbolic link"),
        (
            |it| {
                fs::write(it.with_file_name("target"), assignment_file()).expect("written");
                symlink("target", it).expect("a link");
            },
            "a symbolic link",
        ),
        (|it| symlink("/dev/zero", it).expect("a link"), "a symbolic link"),
        (
            |it| {
                let status = Command::new("mkfifo").arg(it).status().expect("the program mkfifo");
                assert!(status.success());
            },
            "a pipe, a socket or a device",
        ),
        (
            |it| {
                UnixListener::bind(it).expect("a socket");
            },
            "a pipe, a socket or a device",
        ),
    ];
    for (make, kind) in cases {
        let (folder, path) = folder();
        make(&path);
        let (before, inode) = (names(folder.path()), fs::symlink_metadata(&path).expect("it is there").ino());
        let (warning, error) = start(&path);
        let warning = warning.expect("a warning");
        assert_eq!((&warning.reason, &warning.renamed_to), (&SetAsideReason::NotAFile(kind), &None));
        let message = warning.to_string();
        assert!(message.ends_with(&format!("is {kind}, not a file; the device starts without it")), "{message}");
        assert_eq!(error, Some(format!("it is {kind}")));
        assert_eq!(names(folder.path()), before, "{kind}");
        assert_eq!(fs::symlink_metadata(&path).expect("it is there").ino(), inode, "{kind}");
    }
}

/// Only reads: a test with a bug must not be able to replace or rename a device of the machine. The pipe and the socket
/// of the test before show that such a file is not replaced.
#[test]
fn a_device_file_is_not_opened() {
    for path in ["/dev/zero", "/dev/null", "/dev/full", "/dev/tty"] {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        let expected = if metadata.is_symlink() { "a symbolic link" } else { "a pipe, a socket or a device" };
        let read = PrivateFile::new(PathBuf::from(path), "test").read();
        assert_eq!(read.err(), Some(SetAsideReason::NotAFile(expected)), "{path}");
    }
}

#[test]
fn an_impossible_path_does_not_prevent_a_start() {
    let (folder, path) = folder();
    fs::write(&path, "x").expect("written");
    let unreadable = |it: &SetAsideReason| matches!(it, SetAsideReason::Unreadable(_));
    for (what, path, expected) in [
        ("a file in place of the folder", path.join("device.json"), true),
        ("a name that is too long", folder.path().join("x".repeat(300)), true),
        ("a name with a zero", folder.path().join("a\0b"), true),
        ("no such folder", folder.path().join("a/b"), false),
        ("no name", PathBuf::new(), false),
    ] {
        let (warning, error) = start(&path);
        assert_eq!(warning.as_ref().is_some_and(|it| unreadable(&it.reason)), expected, "{what}: {warning:?}");
        assert!(error.is_some(), "{what}");
    }
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("a folder");
    // A path without a file name has no temporary files, so none is removed.
    let others = [".0123456789abcdef.new", "..0123456789abcdef.new"];
    for name in others {
        fs::write(folder.path().join(name), "x").expect("written");
        fs::write(inner.join(name), "x").expect("written");
    }
    let (warning, error) = start(&inner.join(".."));
    assert_eq!(warning.map(|it| it.reason), Some(SetAsideReason::NotAFile("a folder")));
    assert_eq!(error.as_deref(), Some("the path has no file name"));
    assert_eq!(names(&inner), others.map(str::to_owned).into_iter().rev().collect::<Vec<_>>());
    for name in others {
        fs::remove_file(folder.path().join(name)).expect("it is still there");
    }
    fs::remove_dir_all(&inner).expect("removed");
    assert_eq!(names(folder.path()), ["device.json"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_in_which_no_file_can_be_created_does_not_prevent_a_start() {
    // Even root cannot create a file there.
    let (warning, error) = start(Path::new("/proc/hubward.json"));
    assert_eq!(warning, None);
    assert!(error.is_some());
}

#[test]
fn a_file_without_permission_does_not_prevent_a_start() {
    let (folder, path) = folder();
    fs::write(&path, assignment_file()).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("set");
    if fs::File::open(&path).is_ok() {
        // Modes have no effect for root.
        return;
    }
    let (warning, error) = start(&path);
    let warning = warning.expect("a warning");
    assert!(matches!(warning.reason, SetAsideReason::Unreadable(_)), "{warning:?}");
    assert_eq!(warning.renamed_to, None, "the permission may come back");
    assert_eq!(error, None, "a new file replaces it");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).expect("set");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    fs::write(&path, "damaged").expect("written");
    let (warning, error) = start(&path);
    let message = warning.expect("a warning").to_string();
    assert!(message.ends_with("it cannot be renamed, and the device starts without it"), "{message}");
    assert!(error.is_some());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("set");
}

#[test]
fn the_same_content_is_not_written_again() {
    let (_folder, path) = folder();
    let mut cache = AssignmentCache::open(&path, binding()).0;
    let mut store = |number| {
        cache.store(&assignment(number)).expect("stored");
        fs::metadata(&path).expect("a file").ino()
    };
    let first = store(1);
    assert_eq!(store(1), first);
    assert_ne!(store(2), first);
    fs::remove_file(&path).expect("removed");
    store(2);
    let mut next = AssignmentCache::open(&path, binding()).0;
    let before = fs::metadata(&path).expect("a file").ino();
    next.store(&assignment(2)).expect("stored");
    assert_eq!(fs::metadata(&path).expect("a file").ino(), before, "also after a start");
}
