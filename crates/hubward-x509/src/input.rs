//! Reads files, and divides PEM texts into their blocks.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pem::Pem;
use zeroize::Zeroizing;

use crate::CertificateError;

/// Maximum size in bytes of a file or text: about 100 times the size of a chain with RSA keys of 4096 bits.
pub const FILE_MAX: usize = 1 << 20;

/// Reads a file of at most [`FILE_MAX`] bytes. Some files, such as devices, have no end.
pub(crate) fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    // The exact capacity from the start: a buffer that grows leaves copies of the key in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(size_hint(file)));
    let opened = File::open(file);
    let read = opened.and_then(|it| it.take(FILE_MAX as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| CertificateError::File { file: file.to_owned(), problem: error.to_string() })?;
    Ok(text)
}

fn size_hint(file: &Path) -> usize {
    let size = std::fs::metadata(file).map_or(0, |it| it.len());
    usize::try_from(size).map_or(FILE_MAX, |it| it.min(FILE_MAX)) + 1
}

/// The file's name in errors.
pub(crate) fn name_of(file: &Path) -> String {
    format!("`{}`", file.display())
}

/// Divides a PEM text into its blocks. `from` names the text in errors.
pub(crate) fn blocks(text: &[u8], from: &str) -> Result<Vec<Pem>, CertificateError> {
    if text.len() > FILE_MAX {
        return Err(CertificateError::TooLarge { from: from.to_owned(), limit: FILE_MAX });
    }
    // Do not use the text of the parser's error: it can quote a part of the text, which may be secret.
    pem::parse_many(text).map_err(|_| CertificateError::NotPem { from: from.to_owned() })
}
