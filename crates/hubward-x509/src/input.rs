//! Reads files, and divides PEM texts into their blocks.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::CertificateError;

/// Maximum size in bytes of a file or text: about 100 times the size of a chain with RSA keys of 4096 bits.
pub const FILE_MAX: usize = 1 << 20;

/// Number of base64 digits in a line of PEM. Source: RFC 7468, section 2.
const LINE_LENGTH: usize = 64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One block of a PEM text. It borrows the text, so a private key that the caller does not decode is never copied.
pub(crate) struct Block<'a> {
    /// The text between `-----BEGIN ` and `-----`.
    pub(crate) label: &'a str,
    /// Whether the block has the encryption of RFC 1421, as older versions of OpenSSL write it.
    pub(crate) has_old_encryption: bool,
    base64: &'a str,
}

impl Block<'_> {
    /// The bytes of the block. They are wiped after use, because they can be a private key.
    pub(crate) fn decode(&self, from: &str) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
        // Both buffers have their capacity from the start: a buffer that grows leaves copies in memory.
        let mut compact = Zeroizing::new(Vec::with_capacity(self.base64.len()));
        compact.extend(self.base64.bytes().filter(|it| !it.is_ascii_whitespace()));
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(compact.len())]);
        // The error of the decoder is not used: it quotes a digit, which may be secret.
        let length =
            STANDARD.decode_slice(&*compact, &mut bytes).map_err(|_| not_pem(from, "a block is not base64"))?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Reads a file. Stops after [`FILE_MAX`] bytes and one more, because some files, such as `/dev/zero`, have no end.
pub(crate) fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    // The buffer has its capacity from the start: a buffer that grows leaves copies of the key in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(capacity(file)));
    let opened = File::open(file);
    let read = opened.and_then(|it| it.take(FILE_MAX as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| CertificateError::File { file: file.to_owned(), problem: error.to_string() })?;
    Ok(text)
}

/// The file's name in errors.
pub(crate) fn name_of(file: &Path) -> String {
    format!("`{}`", file.display())
}

/// Divides a PEM text into its blocks. Ignores text outside the blocks. The result is never empty. `from` names the
/// text in errors.
pub(crate) fn blocks<'a>(text: &'a [u8], from: &str) -> Result<Vec<Block<'a>>, CertificateError> {
    if text.len() > FILE_MAX {
        return Err(CertificateError::TooLarge { from: from.to_owned(), limit: FILE_MAX });
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        // A text before the first block can have any encoding.
        Err(_) => from_first_block(text).ok_or_else(|| not_pem(from, "it is not text in UTF-8"))?,
    };
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((label, after)) = next_begin(rest) {
        let end = format!("{END}{label}{DASHES}");
        let Some(length) = line_that_begins(after, DASHES).filter(|at| after[*at..].starts_with(&end)) else {
            return Err(not_pem(from, "the line `-----END` of a block is missing or different"));
        };
        blocks.push(block(label, &after[..length]));
        rest = &after[length + end.len()..];
    }
    if blocks.is_empty() {
        return Err(not_pem(from, "it has no line `-----BEGIN`"));
    }
    Ok(blocks)
}

/// A PEM text with one block, with `\n` as line break.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    std::mem::take(&mut *to_secret_pem(label, der))
}

/// Like [`to_pem`], but leaves no copy of the text in memory when the result is dropped.
pub(crate) fn to_secret_pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Both buffers have their capacity from the start: a buffer that grows leaves copies in memory.
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let lines = base64.len().div_ceil(LINE_LENGTH);
    let frame = BEGIN.len() + END.len() + 2 * (label.len() + DASHES.len() + 1);
    let mut text = Zeroizing::new(String::with_capacity(base64.len() + lines + frame));
    let mut rest = base64.as_str();
    for part in [BEGIN, label, DASHES, "\n"] {
        text.push_str(part);
    }
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_LENGTH));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    for part in [END, label, DASHES, "\n"] {
        text.push_str(part);
    }
    text
}

/// The size of the file, but at most [`FILE_MAX`], and two bytes more, so that reading up to the end does not grow the
/// buffer. Pipes and devices have no size.
fn capacity(file: &Path) -> usize {
    let size = match std::fs::metadata(file) {
        Ok(it) if it.is_file() => usize::try_from(it.len()).unwrap_or(FILE_MAX),
        Ok(it) if !it.is_dir() => FILE_MAX,
        _ => 0,
    };
    size.min(FILE_MAX) + 2
}

fn not_pem(from: &str, problem: &'static str) -> CertificateError {
    CertificateError::NotPem { from: from.to_owned(), problem }
}

fn from_first_block(text: &[u8]) -> Option<&str> {
    let at = text.windows(BEGIN.len()).position(|it| it == BEGIN.as_bytes())?;
    std::str::from_utf8(&text[at..]).ok()
}

/// The label of the next block, and the text after it.
fn next_begin(text: &str) -> Option<(&str, &str)> {
    let mut rest = text;
    loop {
        rest = &rest[line_that_begins(rest, BEGIN)? + BEGIN.len()..];
        let line = rest.lines().next().unwrap_or_default();
        if let Some((label, _)) = line.split_once(DASHES) {
            return Some((label, &rest[label.len() + DASHES.len()..]));
        }
    }
}

/// The position of `start` in the first line that begins with it. The line can be indented.
fn line_that_begins(text: &str, start: &str) -> Option<usize> {
    let begins_line = |at: &usize| {
        let before = text[..*at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['\n', '\r'])
    };
    text.match_indices(start).map(|(at, _)| at).find(begins_line)
}

/// Separates the headers of RFC 1421 from the base64 text. An empty line ends the headers.
fn block<'a>(label: &'a str, content: &'a str) -> Block<'a> {
    let mut block = Block { label, has_old_encryption: false, base64: content };
    let mut in_headers = false;
    let mut at = 0;
    for line in content.split_inclusive('\n') {
        at += line.len();
        match line.trim().split_once(':') {
            Some((name, value)) => {
                in_headers = true;
                block.has_old_encryption |= name == "DEK-Info" || name == "Proc-Type" && value.contains("ENCRYPTED");
            }
            None if in_headers && line.trim().is_empty() => {
                block.base64 = &content[at..];
                break;
            }
            None if line.trim().is_empty() || in_headers => {}
            None => break,
        }
    }
    block
}
