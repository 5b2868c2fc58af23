//! Checksums. Each row has a checksum. Each kind of row has the sum of the checksums of its rows.
//!
//! The checksum of a row also covers the key of the row, to detect a row under a wrong key. Each commit also writes the
//! sums, to detect missing and outdated rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rows;

const CHECKSUM: usize = size_of::<u32>();

/// The expected contents of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// A random number that identifies this file. If the file is deleted and created again under the same name, the new
    /// file has another number.
    pub(super) file: u64,
    /// Number of commits.
    pub(super) commit: u64,
    /// The sums by kind of row; see [`kind`].
    pub(super) rows: BTreeMap<String, Sum>,
    /// The sums by hub.
    pub(super) telemetry: BTreeMap<String, Sum>,
}

/// The number of rows and the sum of their checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) count: u64,
    sum: u64,
}

impl Sum {
    pub(super) fn add(&mut self, checksum: u32) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum.into());
    }

    fn remove(&mut self, checksum: u32) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum.into());
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl Sums {
    /// The sums of a new, empty file.
    pub(super) fn new() -> Self {
        Self { file: fastrand::u64(..), ..Self::default() }
    }

    /// Records a change of a row. `before` and `now` are the stored values before and after the change.
    pub(super) fn row(&mut self, key: &str, before: Option<&[u8]>, now: Option<&[u8]>) {
        change(&mut self.rows, kind(key), before, now);
    }

    /// Records a change of a telemetry message of a hub.
    pub(super) fn message(&mut self, hub: &str, before: Option<&[u8]>, now: Option<&[u8]>) {
        change(&mut self.telemetry, hub, before, now);
    }

    /// Converts the sums to text for the file. The text begins with a checksum of itself.
    pub(super) fn to_text(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and names always serialize");
        format!("{:08x}{text}", crc32fast::hash(text.as_bytes()))
    }

    /// Parses the text of [`Sums::to_text`]; `None` if it is damaged.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (checksum, text) = text.split_at_checked(8)?;
        let is_whole = u32::from_str_radix(checksum, 16).ok()? == crc32fast::hash(text.as_bytes());
        is_whole.then(|| serde_json::from_str(text).ok()).flatten()
    }
}

/// Records a change in the sum `name`. `before` and `now` are the stored values before and after the change.
fn change(sums: &mut BTreeMap<String, Sum>, name: &str, before: Option<&[u8]>, now: Option<&[u8]>) {
    if !sums.contains_key(name) {
        sums.insert(name.to_owned(), Sum::default());
    }
    let Some(sum) = sums.get_mut(name) else { return };
    if let Some(checksum) = before.and_then(first) {
        sum.remove(checksum);
    }
    if let Some(checksum) = now.and_then(first) {
        sum.add(checksum);
    }
    if *sum == Sum::default() {
        sums.remove(name);
    }
}

/// Returns the name of the sum that includes this key. The name contains the kind of the row. If the row belongs to a
/// hub, the name also contains the hub.
pub(super) fn kind(key: &str) -> &str {
    let Some((place, rest)) = key.split_once('\0') else { return key };
    match place {
        rows::DEVICE | rows::POST | rows::FEEDBACK => {
            let host = rest.find('\0').unwrap_or(rest.len());
            &key[..place.len() + 1 + host]
        }
        _ => place,
    }
}

/// Returns the stored form of a row's value: the checksum, followed by the value.
pub(super) fn sealed(key: &str, value: &[u8]) -> Vec<u8> {
    seal(row_checksum(key, value), value)
}

/// Returns the value of a row and the checksum of the row. Returns `None` if the stored value is damaged or belongs to
/// another row.
pub(super) fn unsealed<'a>(key: &str, stored: &'a [u8]) -> Option<(&'a [u8], u32)> {
    let value = stored.get(CHECKSUM..)?;
    let checksum = first(stored)?;
    (checksum == row_checksum(key, value)).then_some((value, checksum))
}

/// Like [`sealed`], for a telemetry message of a hub.
pub(super) fn sealed_message(hub: &str, offset: u64, value: &[u8]) -> Vec<u8> {
    seal(message_checksum(hub, offset, value), value)
}

/// Like [`unsealed`], for a telemetry message of a hub.
pub(super) fn unsealed_message<'a>(hub: &str, offset: u64, stored: &'a [u8]) -> Option<(&'a [u8], u32)> {
    let value = stored.get(CHECKSUM..)?;
    let checksum = first(stored)?;
    (checksum == message_checksum(hub, offset, value)).then_some((value, checksum))
}

/// Returns the value of a row without the checksum. Does not verify the checksum.
pub(super) fn value_of(stored: &[u8]) -> &[u8] {
    stored.get(CHECKSUM..).unwrap_or_default()
}

fn seal(checksum: u32, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(CHECKSUM + value.len());
    stored.extend_from_slice(&checksum.to_le_bytes());
    stored.extend_from_slice(value);
    stored
}

fn first(stored: &[u8]) -> Option<u32> {
    stored.first_chunk().map(|it| u32::from_le_bytes(*it))
}

/// Returns the checksum of a key and a value. The byte 255 separates the key from the value, because a key never
/// contains this byte. The inputs of two different rows are therefore different.
fn row_checksum(key: &str, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(&[0xff]);
    hasher.update(value);
    hasher.finalize()
}

fn message_checksum(hub: &str, offset: u64, value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(hub.as_bytes());
    hasher.update(&[0xff]);
    hasher.update(&offset.to_le_bytes());
    hasher.update(value);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_valid_for_its_key_only() {
        let stored = sealed("device\0hub\0d1", b"{}");
        assert_eq!(unsealed("device\0hub\0d1", &stored).map(|it| it.0), Some(b"{}".as_slice()));
        assert!(unsealed("device\0hub\0d2", &stored).is_none());
        let message = sealed_message("hub", 7, b"x");
        assert_eq!(unsealed_message("hub", 7, &message).map(|it| it.0), Some(b"x".as_slice()));
        assert!(unsealed_message("hub", 8, &message).is_none() && unsealed_message("hib", 7, &message).is_none());
        for at in 0..stored.len() {
            for bit in 0..8 {
                let mut damaged = stored.clone();
                damaged[at] ^= 1 << bit;
                assert!(unsealed("device\0hub\0d1", &damaged).is_none(), "bit {bit} of byte {at}");
            }
            assert!(unsealed("device\0hub\0d1", &stored[..at]).is_none(), "{at} bytes");
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_order_of_rows() {
        let [a, b, c] = ["a", "b", "c"].map(|it| sealed(&format!("device\0hub\0{it}"), it.as_bytes()));
        let mut one = Sums::default();
        one.row("device\0hub\0a", None, Some(&a));
        one.row("device\0hub\0b", None, Some(&c));
        one.row("device\0hub\0b", Some(&c), Some(&b));
        one.row("group\0g", None, Some(&c));
        one.row("group\0g", Some(&c), None);
        let mut other = Sums::default();
        other.row("device\0hub\0b", None, Some(&b));
        other.row("device\0hub\0a", None, Some(&a));
        assert_eq!(one, other);
        assert_eq!(one.rows.keys().collect::<Vec<_>>(), ["device\0hub"]);
        let text = one.to_text();
        assert_eq!(Sums::from_text(&text), Some(one));
        assert_eq!(Sums::from_text(&text.replace(":2,", ":3,")), None);
        assert_eq!(Sums::from_text("é"), None);
    }

    #[test]
    fn rows_are_counted_by_kind_and_hub() {
        for (key, expected) in [
            ("enrollment\0d1", "enrollment"),
            ("next\0hub", "next"),
            ("device\0hub\0d1", "device\0hub"),
            ("post\0hub\0d1/m1\x0000000001", "post\0hub"),
            ("feedback\0hub\x001", "feedback\0hub"),
            ("device\0hub", "device\0hub"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(kind(key), expected);
        }
    }
}
