//! The content of a file of the device: a JSON object with a version and a checksum.
//!
//! The file is a JSON object over several lines. Its last member, `sha256`, is the checksum of all bytes before this
//! member's line. The checksum is compared before the JSON is read, so a file with a single changed byte is never read.
//! SHA-256 is in the dependency tree already (ring), and finds more kinds of damage than a CRC. It does not protect
//! against a person who changes the file: this person can compute it again.
//!
//! The member `version` is `MAJOR.MINOR`. A newer minor version only adds members. This version keeps members that it
//! does not know, and the higher minor version, when it writes the file again. A newer major version may change
//! everything but the member `version`.

use hubward_transport::UnixSeconds;
use ring::digest;
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::private_file::SIZE_MAX;
use super::set_aside::SetAsideReason;

/// The only major version of both files.
const MAJOR: u32 = 1;

const VERSION: &str = "version";
const CONTENT: &str = "content";

/// The text around the checksum at the end of a file.
const BEFORE_CHECKSUM: &str = ",\n  \"sha256\": \"";
const AFTER_CHECKSUM: &str = "\"\n}\n";

/// Number of hexadecimal digits of the checksum.
const CHECKSUM_LEN: usize = 64;

/// The members of a file, without version and checksum.
///
/// The texts are wiped from memory when the value is dropped, because one of them can be a private key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document {
    minor: u32,
    members: Members,
}

/// The members of a JSON object.
///
/// Has no text in `Debug`.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Members(Map<String, Value>);

impl Document {
    /// Reads the bytes of a file. `content` is the purpose of the file, as [`Document::encode`] wrote it.
    pub(super) fn parse(bytes: &[u8], content: &str) -> Result<Self, SetAsideReason> {
        let Err(problem) = check_checksum(bytes) else {
            let mut members = read_object(bytes).ok_or_else(|| damaged("it is not a JSON object"))?;
            members.take_text("sha256");
            let version = members.take_text(VERSION).unwrap_or_default();
            return match parse_version(&version) {
                Some((MAJOR, minor)) if members.take_text(CONTENT).as_deref() == Some(content) => {
                    Ok(Self { minor, members })
                }
                Some((MAJOR, _)) => Err(damaged(format!("its member `{CONTENT}` is not `{content}`"))),
                Some((major, _)) if major > MAJOR => Err(SetAsideReason::Newer { version }),
                _ => Err(damaged("its version is missing or invalid")),
            };
        };
        // A newer major version may have another checksum.
        let version = read_object(bytes).and_then(|mut it| it.take_text(VERSION)).unwrap_or_default();
        match parse_version(&version) {
            Some((major, _)) if major > MAJOR => Err(SetAsideReason::Newer { version }),
            _ => Err(damaged(problem)),
        }
    }

    /// The members.
    pub(super) const fn members(&mut self) -> &mut Members {
        &mut self.members
    }

    /// Returns the bytes of the file.
    pub(super) fn encode(mut self, content: &str) -> Zeroizing<Vec<u8>> {
        self.members.set_text(VERSION, Some(format!("{MAJOR}.{}", self.minor)));
        self.members.set_text(CONTENT, Some(content.to_owned()));
        // The buffer has its capacity from the start: a buffer that grows leaves copies of a key in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SIZE_MAX + 1));
        serde_json::to_writer_pretty(&mut *bytes, &self.members.0).expect("a JSON value can be written to memory");
        // The checksum becomes the last member of the object.
        let end = bytes.len() - "\n}".len();
        bytes.truncate(end);
        add_checksum(&mut bytes);
        bytes
    }
}

impl Members {
    /// Removes and returns a text. Returns `None` if the member is missing or is not a text.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        match self.0.get(name) {
            Some(Value::String(_)) => match self.0.remove(name) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    /// Removes and returns the texts of an array. Returns `None` if the member is missing or is not such an array.
    pub(super) fn take_texts(&mut self, name: &str) -> Option<Vec<String>> {
        let Some(Value::Array(values)) = self.0.get(name) else { return None };
        let texts = values.iter().map(|it| it.as_str().map(str::to_owned)).collect();
        self.0.remove(name);
        texts
    }

    /// Removes and returns a time.
    pub(super) fn take_time(&mut self, name: &str) -> Option<UnixSeconds> {
        let time = self.0.get(name)?.as_u64()?;
        self.0.remove(name);
        Some(UnixSeconds(time))
    }

    /// Removes and returns an object. Returns `None` if the member is missing or is not an object.
    pub(super) fn take_object(&mut self, name: &str) -> Option<Self> {
        match self.0.get(name) {
            Some(Value::Object(_)) => match self.0.remove(name) {
                Some(Value::Object(members)) => Some(Self(members)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Removes and returns a text that may be missing or null.
    ///
    /// # Errors
    /// [`SetAsideReason::Damaged`] if the member is something else.
    pub(super) fn take_optional_text(&mut self, name: &str) -> Result<Option<String>, SetAsideReason> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.take_text(name).map(Some).ok_or_else(|| invalid(name)),
        }
    }

    /// Whether the object has a member with this name that is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|it| !it.is_null())
    }

    /// Sets a text, or removes the member.
    pub(super) fn set_text(&mut self, name: &str, text: Option<String>) {
        self.set(name, text.map(Value::String));
    }

    /// Sets an array of texts.
    pub(super) fn set_texts(&mut self, name: &str, texts: Vec<String>) {
        self.set(name, Some(texts.into()));
    }

    /// Sets a time.
    pub(super) fn set_time(&mut self, name: &str, time: UnixSeconds) {
        self.set(name, Some(time.0.into()));
    }

    /// Sets an object, or removes the member.
    pub(super) fn set_object(&mut self, name: &str, mut members: Option<Self>) {
        self.set(name, members.as_mut().map(|it| Value::Object(std::mem::take(&mut it.0))));
    }

    fn set(&mut self, name: &str, value: Option<Value>) {
        let old = match value {
            Some(value) => self.0.insert(name.to_owned(), value),
            None => self.0.remove(name),
        };
        if let Some(mut old) = old {
            wipe(&mut old);
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Appends the checksum, and the end of the JSON object.
fn add_checksum(bytes: &mut Vec<u8>) {
    let checksum = checksum(bytes);
    bytes.extend_from_slice(BEFORE_CHECKSUM.as_bytes());
    bytes.extend_from_slice(checksum.as_bytes());
    bytes.extend_from_slice(AFTER_CHECKSUM.as_bytes());
}

/// Returns what is wrong with the checksum.
fn check_checksum(bytes: &[u8]) -> Result<(), &'static str> {
    if bytes.is_empty() {
        return Err("it is empty");
    }
    let split = || {
        let rest = bytes.strip_suffix(AFTER_CHECKSUM.as_bytes())?;
        let (rest, found) = rest.split_at_checked(rest.len().checked_sub(CHECKSUM_LEN)?)?;
        Some((rest.strip_suffix(BEFORE_CHECKSUM.as_bytes())?, found))
    };
    match split() {
        None => Err("it does not end with its checksum"),
        Some((content, found)) if found == checksum(content).as_bytes() => Ok(()),
        Some(_) => Err("its checksum is wrong"),
    }
}

fn checksum(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_object(bytes: &[u8]) -> Option<Members> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Some(Members(members)),
        Ok(mut other) => {
            wipe(&mut other);
            None
        }
        Err(_) => None,
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = |it: &str| it.bytes().all(|it| it.is_ascii_digit()).then(|| it.parse().ok()).flatten();
    let (major, minor) = text.split_once('.')?;
    Some((number(major)?, number(minor)?))
}

/// Overwrites all texts of a value.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A [`SetAsideReason::Damaged`].
pub(super) fn damaged(details: impl Into<String>) -> SetAsideReason {
    SetAsideReason::Damaged(details.into())
}

/// The reason for a file without this member, or with a wrong one.
pub(super) fn invalid(name: &str) -> SetAsideReason {
    damaged(format!("its member `{name}` is missing or invalid"))
}

/// Appends the correct checksum to `content`, the beginning of a JSON object without its last brace. For tests, and for
/// fuzz targets, which cannot guess a checksum.
pub(crate) fn seal(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    add_checksum(&mut bytes);
    bytes
}
