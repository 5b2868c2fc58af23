//! MQTT packets, as the client reads a server's and the emulator a client's.

use hubward_emulator::fuzzing as emulator;
use hubward_mqtt::fuzzing as client;

/// Small, so that "too large" is met often.
const MOST: usize = 512;

/// What a client reads. The first byte says whether a CONNACK is due.
pub(super) fn client_packets(bytes: &[u8]) -> bool {
    let Some((choice, bytes)) = bytes.split_first() else { return false };
    let first = choice & 1 == 1;
    let Ok(Some(read)) = client::read(bytes, MOST, first) else { return false };
    check_taken(bytes, read.taken, |part| matches!(client::read(part, MOST, first), Ok(None)));
    if let Some(again) = &read.again {
        // An overlong length makes ours shorter, nothing makes it longer.
        assert!(again.len() <= read.taken, "{} bytes became {}", read.taken, again.len());
        let second = client::read(again, MOST, first).expect("our own packet").expect("a whole one");
        assert_eq!(second.taken, again.len());
        assert_eq!(second.again.as_ref(), Some(again), "reading what we write changes nothing");
    }
    true
}

/// What the emulator reads.
pub(super) fn emulator_packets(bytes: &[u8]) -> bool {
    let Ok(Some(read)) = emulator::read(bytes, MOST) else { return false };
    check_taken(bytes, read.taken, |part| matches!(emulator::read(part, MOST), Ok(None)));
    if let Some(again) = &read.again {
        // A strict decoder leaves one way to write a packet.
        assert_eq!(again, &bytes[..read.taken]);
        let is_message = bytes[0] >> 4 == 3;
        if is_message && bytes[0] & 0b0100 == 0 {
            // What the strict side takes, the lenient one must, and as much of it.
            let other = client::read(bytes, MOST, false).expect("strict implies lenient").expect("a whole packet");
            assert_eq!(other.taken, read.taken);
        }
    }
    true
}

/// What was taken is what the packet's length says, and nothing less is a packet.
fn check_taken(bytes: &[u8], taken: usize, is_incomplete: impl Fn(&[u8]) -> bool) {
    let (mut length, mut header) = (0_usize, 1);
    for (at, byte) in bytes[1..].iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    assert_eq!(taken, header + length, "the remaining length");
    // The client counts what follows the length, the emulator all of it.
    assert!(length <= MOST, "{length} bytes");
    for part in 0..taken {
        assert!(is_incomplete(&bytes[..part]), "{part} of {taken} bytes");
    }
}
