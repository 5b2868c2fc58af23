//! Reads arguments and files that contain no secrets: JSON, and the bodies of messages.

use std::io::Read as _;
use std::path::Path;

use hubward::error::ProtoError;
use hubward::{Message, limits};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::stop::reading;

/// Maximum size in bytes of a file with a body. The limit protects the memory if the user names a wrong file.
///
/// The limit is twice the size of the largest message. If a body is only a little too large, the program can therefore
/// still read the file. The later check of the message then reports the exact size.
const BODY_MOST: u64 = 2 * limits::TELEMETRY_MAX as u64;

/// Maximum size in bytes of a state to import. The admin port has the same limit.
#[cfg(feature = "emulator")]
const STATE_MOST: u64 = 64 << 20;

/// Number of results of a list.
#[cfg(feature = "service")]
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// Maximum number of results; -1 for all [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    top: Option<i64>,
}

#[cfg(feature = "service")]
impl TopArgs {
    /// Returns the maximum number of results, or `None` if there is no maximum. Returns an error for `--top 0`.
    pub(crate) fn limit(&self) -> Result<Option<usize>, Failure> {
        match self.top {
            Some(0) => Err(Failure::usage("--top 0 returns no results").hint("write a number from 1, or -1 for all")),
            Some(top) => Ok(usize::try_from(top).ok()),
            None => Ok(None),
        }
    }
}

/// Parses the JSON of an argument. The argument is JSON, or `@FILE` for a file that contains the JSON.
///
/// As in `az`, the file name also works without `@`, if the argument is not JSON.
pub(crate) fn json(flag: &str, text: &str) -> Result<Value, Failure> {
    match text.strip_prefix('@') {
        None => match parsed(flag, text.as_bytes()) {
            Err(_) if Path::new(text).is_file() => json_file(flag, Path::new(text)),
            parsed => parsed,
        },
        Some(file) => json_file(flag, Path::new(file)),
    }
}

/// Parses the JSON of a file; `-` is standard input.
pub(crate) fn json_file(flag: &str, file: &Path) -> Result<Value, Failure> {
    parsed(flag, &file_bytes(flag, file)?)
}

fn parsed(flag: &str, text: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(text).map_err(|error| {
        let failure = Failure::usage(format!("{flag} is not JSON: {error}"));
        match with_double_quotes(text) {
            Some(json) => failure.hint(format!("JSON has double quotes: {flag} '{json}'")),
            None => failure.hint("write JSON, such as '{\"serial\": 1}', or @FILE for a file that contains it"),
        }
    })
}

/// Returns the text with double quotes in place of single quotes, for a hint. Users may copy JSON with single quotes
/// from the examples of `az`.
///
/// Returns `None` if the result is not JSON, or if the text has more than 1,000 bytes.
fn with_double_quotes(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok().filter(|it| it.len() <= 1000)?.replace('\'', "\"");
    serde_json::from_str::<Value>(&text).is_ok().then(|| text.trim().to_owned())
}

/// Checks a patch of reported properties against the limits of a hub. Returns the patch.
pub(crate) fn patch(flag: &str, value: Value) -> Result<Map<String, Value>, Failure> {
    let Value::Object(map) = value else {
        return Err(Failure::usage(format!("{flag} is JSON, but not an object")).hint("write '{\"name\": value}'"));
    };
    hubward::twin::check_patch(&map, limits::TWIN_PROPERTIES_MAX)
        .map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
    Ok(map)
}

/// The bytes of a body; `-` is standard input.
pub(crate) fn body(file: &Path) -> Result<Vec<u8>, Failure> {
    file_bytes("the body", file)
}

fn file_bytes(what: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    let path = file.to_owned();
    let read = reading(move || at_most(BODY_MOST, &path))?;
    whole(what, file, BODY_MOST, read)
}

/// Reads the text of a seed or an export; `-` is standard input.
#[cfg(feature = "emulator")]
pub(crate) fn state_text(what: &str, file: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    let path = file.to_owned();
    let read = reading(move || at_most(STATE_MOST, &path).map(|it| it.map(zeroize::Zeroizing::new)))?;
    let bytes = whole(what, file, STATE_MOST, read)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(zeroize::Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::usage(format!("{what}: the file {} is not text in UTF-8", file.display()))),
    }
}

/// Reads a file; `-` is standard input. Returns `None` if the file has more than `most` bytes. Reads at most one byte
/// more than `most`.
fn at_most(most: u64, file: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(most + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(most + 1).read_to_end(&mut bytes)?;
    }
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

fn whole<T>(what: &str, file: &Path, most: u64, read: std::io::Result<Option<T>>) -> Result<T, Failure> {
    let file = file.display();
    match read {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Failure::usage(format!("{what}: the file {file} is larger than {} KiB", most / 1024))),
        Err(error) => Err(Failure::usage(format!("{what}: the file {file} cannot be read: {error}"))),
    }
}

/// Checks the message against the limits of the service, and returns it unchanged.
///
/// The program sends each message with an ID, and the ID counts towards the limits. If the message has no ID yet, the
/// check therefore uses a copy with a random ID.
pub(crate) fn checked(message: Message) -> Result<Message, Failure> {
    match with_id(message.clone()).check() {
        Ok(()) => Ok(message),
        Err(error @ ProtoError::TooLarge { limit, .. }) => Err(Failure::usage(error.to_string())
            .hint(format!("at most {limit} bytes, including properties: send several messages, or upload a file"))),
        Err(error) => Err(Failure::usage(error.to_string())),
    }
}

/// Returns the message. If the message has no ID, adds a random one.
pub(crate) fn with_id(message: Message) -> Message {
    if message.id().is_some() { message } else { message.message_id(unique_id()) }
}

/// Returns a random UUID (version 4). Microsoft's sample uses such message IDs, too.
pub(crate) fn unique_id() -> String {
    let bits = fastrand::u128(..) & !(0xf000_u128 << 64) & !(0b11_u128 << 62) | (0x4000_u128 << 64) | (0b10_u128 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_an_object_within_the_limits_of_a_hub() {
        for (text, says) in [
            ("[1]", "not an object"),
            ("{", "not JSON"),
            (r#"{"a.b": 1}"#, "`a.b`"),
            (r#"{"a": 9007199254740993}"#, "52 bits"),
        ] {
            let error = json("--report", text).and_then(|it| patch("--report", it)).expect_err(text);
            assert!(error.messages[0].starts_with("--report") && error.messages[0].contains(says), "{error:?}");
        }
        let map = json("--report", r#"{"fan": {"speed": 2}, "gone": null}"#).and_then(|it| patch("--report", it));
        assert_eq!(map.expect("a patch").len(), 2);
    }

    #[test]
    fn an_argument_may_name_a_file_with_and_without_at() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "{\"a\": 1}").expect("written");
        let path = file.path().to_str().expect("text");
        for text in [path, &format!("@{path}"), "{\"a\": 1}"] {
            assert_eq!(json("--json", text).expect(text), serde_json::json!({"a": 1}));
        }
        assert!(json("--json", "/no/such/file").is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("body");
        let most = usize::try_from(BODY_MOST).expect("small");
        std::fs::write(&path, vec![b' '; most]).expect("written");
        assert_eq!(body(&path).expect("as large as it may be").len(), most);
        std::fs::write(&path, vec![b' '; most + 1]).expect("written");
        let error = body(&path).expect_err("too large");
        assert!(error.messages[0].contains("is larger than 512 KiB"), "{error:?}");
        #[cfg(unix)]
        {
            let endless = Path::new("/dev/zero");
            assert!(body(endless).is_err() && json_file("--json", endless).is_err());
            #[cfg(feature = "emulator")]
            assert!(state_text("the seed", endless).expect_err("no end").messages[0].contains("larger than 65536 KiB"));
        }
    }

    #[test]
    fn the_hint_shows_json_with_double_quotes() {
        let failure = json("--tags", "{'version':'1'}").expect_err("no JSON");
        assert_eq!(failure.hint.as_deref(), Some(r#"JSON has double quotes: --tags '{"version":"1"}'"#));
        let failure = json("--tags", "{'version':").expect_err("no JSON");
        assert!(failure.hint.as_deref().is_some_and(|it| it.starts_with("write JSON")), "{failure:?}");
    }

    #[test]
    fn a_message_that_is_too_large_is_refused() {
        let room = limits::TELEMETRY_MAX - 36;
        assert!(checked(Message::new(vec![0; room])).is_ok());
        let error = checked(Message::new(vec![0; room + 1])).expect_err("too large with its id");
        assert!(error.messages[0].contains("262145 bytes") && error.messages[0].contains("262144"), "{error:?}");
    }

    #[test]
    fn message_ids_are_version_4_uuids() {
        for _ in 0..100 {
            let id = unique_id();
            assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }
}
