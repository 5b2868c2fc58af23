//! Parses MQTT packets, once as the client does and once as the emulator does.

use hubward_emulator::fuzzing as emulator;
use hubward_mqtt::fuzzing as client;

use crate::packets::{kind, lengths};

/// Maximum length of a packet. The limit is small, so that many packets exceed it.
const MAX_LENGTH: usize = 512;

/// Parses a packet as the client does. The first byte is not part of the packet: if it is odd, the client expects a
/// CONNACK.
pub(super) fn client_packets(bytes: &[u8]) -> bool {
    let Some((choice, bytes)) = bytes.split_first() else { return false };
    let first = choice & 1 == 1;
    let Ok(Some(read)) = client::read(bytes, MAX_LENGTH, first) else { return false };
    check_taken(bytes, read.taken, |part| matches!(client::read(part, MAX_LENGTH, first), Ok(None)));
    if let Some(again) = &read.again {
        // A packet may use more bytes than necessary to encode its length, but the client always uses as few bytes as
        // possible. So the packet that the client writes may be shorter than the original, but never longer.
        assert!(again.len() <= read.taken, "{} bytes became {}", read.taken, again.len());
        let second = client::read(again, MAX_LENGTH, first).expect("our own packet").expect("a whole one");
        assert_eq!(second.taken, again.len());
        assert_eq!(second.again.as_ref(), Some(again), "parsing our own packet changes nothing");
    }
    true
}

/// Packets that the emulator reads.
pub(super) fn emulator_packets(bytes: &[u8]) -> bool {
    let Ok(Some(read)) = emulator::read(bytes, MAX_LENGTH) else { return false };
    check_taken(bytes, read.taken, |part| matches!(emulator::read(part, MAX_LENGTH), Ok(None)));
    if let Some(again) = &read.again {
        // The decoder of the emulator is strict: it accepts only one encoding of each packet.
        assert_eq!(again, &bytes[..read.taken]);
        let is_message = bytes[0] >> 4 == kind::PUBLISH;
        if is_message && bytes[0] & 0b0100 == 0 {
            // The decoder of the client is lenient. It must accept every PUBLISH with QoS 0 or 1 that the emulator's
            // decoder accepts, and must find the same length.
            let other =
                client::read(bytes, MAX_LENGTH, false).expect("strict implies lenient").expect("a whole packet");
            assert_eq!(other.taken, read.taken);
        }
    }
    true
}

/// Checks that the decoder consumed all bytes of the packet and no byte after it. Also checks that the decoder reports
/// every shorter part of the packet as incomplete.
fn check_taken(bytes: &[u8], taken: usize, is_incomplete: impl Fn(&[u8]) -> bool) {
    let (header, length) = lengths(bytes).expect("a complete header");
    assert_eq!(taken, header + length, "the remaining length");
    // The client limits only the bytes after the length field, and the emulator limits the whole packet. For both of
    // them, an accepted packet therefore has at most `MAX_LENGTH` bytes after the length field.
    assert!(length <= MAX_LENGTH, "{length} bytes");
    for part in 0..taken {
        assert!(is_incomplete(&bytes[..part]), "{part} of {taken} bytes");
    }
}
