//! Damaged files: no start fails, and no file is read wrongly.

use super::super::assignment_cache::parse as parse_assignment;
use super::super::certificate_store::parse as parse_certificates;
use super::super::private_file::SIZE_MAX;
use super::super::{SetAside, SetAsideReason};
use super::*;

/// A start with these bytes in the file. Returns the warning and the names in the folder afterwards.
fn start(bytes: &[u8]) -> (Option<SetAside>, Vec<String>) {
    let (folder, path) = folder();
    fs::write(&path, bytes).expect("written");
    let (mut cache, found, warning) = AssignmentCache::open(&path, binding());
    assert!(found.is_none(), "{warning:?}");
    let names = names(folder.path());
    cache.store(&assignment(1)).expect("a damaged file does not prevent the next one");
    assert_eq!(AssignmentCache::open(&path, binding()).1, Some(assignment(1)));
    (warning, names)
}

#[test]
fn a_damaged_file_is_set_aside_with_its_reason() {
    let whole = assignment_file();
    let text = String::from_utf8(whole.clone()).expect("text");
    let large = vec![b' '; SIZE_MAX + 1];
    for (what, bytes, ending, expected) in [
        ("empty", &b""[..], "damaged", "is damaged: it is empty"),
        ("no JSON", b"hello", "damaged", "is damaged: it does not end with its checksum"),
        ("a half file", &whole[..whole.len() / 2], "damaged", "is damaged: it does not end with its checksum"),
        ("zeros", &[0; 4096], "damaged", "is damaged: it does not end with its checksum"),
        ("a changed hub", text.replace("hub-7", "hub-8").as_bytes(), "damaged", "is damaged: its checksum is wrong"),
        ("two files", &[&whole[..], &whole[..]].concat(), "damaged", "is damaged: its checksum is wrong"),
        ("no line end", text.trim_end().as_bytes(), "damaged", "is damaged: it does not end with its checksum"),
        ("lines of Windows", text.replace('\n', "\r\n").as_bytes(), "damaged", "it does not end with its checksum"),
        ("too large", &large, "damaged", "is damaged: it has 65537 bytes, and at most 65536 are allowed"),
        ("deep", "[".repeat(60_000).as_bytes(), "damaged", "it does not end with its checksum"),
        (
            "a newer version",
            br#"{"version":"2.0","sha512":"?"}"#,
            "newer",
            "is from a newer version of hubward: it has the format 2.0",
        ),
        ("a newer version of the same form", text.replace("\"1.0\"", "\"11.3\"").as_bytes(), "newer", "format 11.3"),
        ("another program's file", br#"{"version":"2.0.1"}"#, "damaged", "it does not end with its checksum"),
    ] {
        let (warning, names) = start(bytes);
        let warning = warning.unwrap_or_else(|| panic!("{what}: no warning"));
        let message = warning.to_string();
        assert!(message.starts_with("the assignment cache `") && message.contains(expected), "{what}: {message}");
        let name = format!("device.json.{ending}");
        assert!(message.ends_with(&format!("{name}`, and the device starts without it")), "{what}: {message}");
        assert_eq!(names, [name], "{what}");
    }
}

#[test]
fn a_file_of_a_billion_bytes_is_not_read() {
    let (folder, path) = folder();
    fs::File::create(&path).expect("a file").set_len(1_000_000_000).expect("a sparse file");
    let (_, found, warning) = AssignmentCache::open(&path, binding());
    let reason = SetAsideReason::Damaged("it has 1000000000 bytes, and at most 65536 are allowed".to_owned());
    assert_eq!((found, warning.map(|it| it.reason)), (None, Some(reason)));
    assert_eq!(names(folder.path()), ["device.json.damaged"]);
}

#[test]
fn the_number_of_files_that_were_set_aside_does_not_grow() {
    let (folder, path) = folder();
    for round in 0..20 {
        for bytes in [format!("{round}"), format!(r#"{{"version":"{}.0"}}"#, round + 2)] {
            fs::write(&path, bytes).expect("written");
            assert!(AssignmentCache::open(&path, binding()).2.is_some_and(|it| it.renamed_to.is_some()));
        }
        let other = binding_of("localhost", "0ne1", "dev-1", &[key(1)]);
        AssignmentCache::open(&path, other).0.store(&assignment(1)).expect("stored");
        assert!(AssignmentCache::open(&path, binding()).2.is_some());
    }
    assert_eq!(names(folder.path()), ["device.json.damaged", "device.json.foreign", "device.json.newer"]);
    assert_eq!(fs::read(folder.path().join("device.json.damaged")).expect("a file"), b"19", "the newest one");
}

/// Calls `check` with each beginning of `bytes`, and with `bytes` after each change of one byte to a similar byte, and
/// without each byte.
fn for_each_damage(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    for length in 0..bytes.len() {
        check(&bytes[..length]);
    }
    let mut changed = bytes.to_vec();
    for position in 0..bytes.len() {
        let right = bytes[position];
        let flips = (0..8).map(|bit| right ^ (1 << bit));
        for wrong in flips.chain([0, 0xff, b' ', b'"', b'0']).filter(|it| *it != right) {
            changed[position] = wrong;
            check(&changed);
        }
        changed[position] = right;
        check(&[&bytes[..position], &bytes[position + 1..]].concat());
    }
}

#[test]
fn no_damage_of_one_byte_gives_another_assignment() {
    let (bytes, bound) = (assignment_file(), binding());
    assert!(parse_assignment(&bytes, &bound).is_ok());
    for_each_damage(&bytes, |damaged| {
        let read = parse_assignment(damaged, &bound).map(|(it, _)| it);
        assert!(
            read.as_ref().err().is_some_and(|it| it.ending().is_some()),
            "{read:?}: {}",
            String::from_utf8_lossy(damaged)
        );
    });
}

#[test]
fn no_damage_of_one_byte_gives_another_certificate() {
    let (bytes, bound) = (certificate_file(), binding());
    assert!(parse_certificates(&bytes, &bound).is_ok());
    for_each_damage(&bytes, |damaged| {
        let read = parse_certificates(damaged, &bound);
        assert!(read.as_ref().err().is_some_and(|it| it.ending().is_some()), "{}", String::from_utf8_lossy(damaged));
    });
}
