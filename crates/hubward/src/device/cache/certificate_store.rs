//! The file that keeps the issued certificate of a device, with its private key.
//!
//! The steps of one issuance, each of which replaces the whole file atomically:
//!
//! 1. [`CertificateStore::begin`] stores the new key as pending, before its request (CSR) leaves the device.
//! 2. [`CertificateStore::finish`] makes the pending key and the issued chain the current pair. The pair before it
//!    becomes the previous one.
//! 3. [`CertificateStore::confirm`] forgets the previous pair, after the hub has accepted the current one. If the hub
//!    refuses the current pair, [`CertificateStore::revert`] returns to the previous one.
//!
//!
//! [`CertificateStore::forget`] forgets all of them, after DPS has assigned a hub without a certificate.
//!
//! After a crash at any moment, the file has the state before or after a step. So a key is never beside the chain of
//! another key: one file contains both, and one rename replaces both. The store also compares the key with the chain
//! each time that it reads the file.

use std::path::{Path, PathBuf};

use hubward_transport::{ClientCertificate, UnixSeconds};
use hubward_x509::{Certificate, CertificateError, DeviceKey};
use zeroize::Zeroizing;

use super::document::{Document, Members, damaged, invalid};
use super::private_file::PrivateFile;
use super::{Binding, CacheError, SetAside, SetAsideReason};

/// What the file is, in the file and in messages.
const CONTENT: &str = "certificate store";

/// The label of a key (PKCS#8). Source: `[doc]` RFC 7468, section 10.
const KEY: &str = "PRIVATE KEY";

/// The label of a certificate. Source: `[doc]` RFC 7468, section 5.
const CERTIFICATE: &str = "CERTIFICATE";

/// The file that keeps the issued certificate of a device, with its private key.
#[derive(Debug)]
pub(crate) struct CertificateStore {
    file: PrivateFile,
    binding: Binding,
    state: State,
    /// Whether there is a file with this state, or a part of it.
    has_file: bool,
}

/// A private key whose certificate has been requested, or is about to be.
#[derive(Debug, Clone)]
pub(crate) struct PendingKey {
    /// The key.
    pub(crate) key: DeviceKey,
    /// The id of the request (`$rid`) at the hub; `None` for a request to DPS.
    pub(crate) request_id: Option<String>,
    /// When the key was generated.
    pub(crate) created_at: UnixSeconds,
}

/// An issued certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuedCertificate {
    /// The chain and the key.
    pub(crate) certificate: ClientCertificate,
    /// When the chain was stored, by the clock of the device.
    pub(crate) issued_at: UnixSeconds,
}

/// The content of a certificate store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredCertificates {
    /// The pair to use.
    pub(crate) current: Option<IssuedCertificate>,
    /// The pair before the current one, until the hub has accepted the current one.
    pub(crate) previous: Option<IssuedCertificate>,
    /// The key of a request without an answer. The device can send the request again, with the same request id, or
    /// generate another key.
    pub(crate) pending: Option<PendingKey>,
}

/// Why [`CertificateStore::finish`] failed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FinishError {
    /// There is no pending key.
    #[error("a certificate was issued, but no key waits for it")]
    NoPendingKey,
    /// The chain cannot be used with the pending key. Trying again does not help; request another certificate.
    #[error("the issued certificate cannot be used")]
    Chain(#[source] CertificateError),
    /// The file cannot be written. The pending key is still there, so the caller can try again.
    #[error(transparent)]
    Store(#[from] CacheError),
}

hubward_proto::debug_as_error_report!(FinishError);

/// The content of the file, in the form in which it can be written again.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    current: Option<Pair>,
    previous: Option<Pair>,
    pending: Option<PendingKey>,
    /// Members that this version does not know.
    document: Document,
    binding: Members,
}

#[derive(Debug, Clone)]
struct Pair {
    issued: IssuedCertificate,
    /// The key. [`ClientCertificate`] does not give out its key.
    key: DeviceKey,
    /// Members that this version does not know.
    rest: Members,
}

impl CertificateStore {
    /// The file of the certificate store that belongs to an assignment cache: the cache's name and `.certificate`.
    pub(crate) fn beside(cache: &Path) -> PathBuf {
        let mut name = cache.file_name().unwrap_or_default().to_owned();
        name.push(".certificate");
        cache.with_file_name(name)
    }

    /// Reads the file. Returns its content (empty if the file cannot be used), and a warning if there is a file that
    /// cannot be used. Also removes temporary files that a killed process left. Never fails.
    ///
    /// The credentials of the binding do not matter: an issued certificate stays valid after the device got another key
    /// for DPS.
    pub(crate) fn open(path: impl Into<PathBuf>, binding: Binding) -> (Self, StoredCertificates, Option<SetAside>) {
        let file = PrivateFile::new(path.into(), CONTENT);
        file.sweep();
        let read = file.read().and_then(|it| it.map(|it| parse(&it, &binding)).transpose());
        let (state, warning) = match read {
            Ok(state) => (state, None),
            Err(reason) => (None, Some(file.set_aside(reason))),
        };
        let has_file = state.is_some();
        let store = Self { file, binding, state: state.unwrap_or_default(), has_file };
        let content = store.content();
        (store, content, warning)
    }

    /// Whether there is a file that this version can read. If there is none, the device has never sent a certificate
    /// request.
    pub(crate) const fn has_file(&self) -> bool {
        self.has_file
    }

    /// What the store contains.
    pub(crate) fn content(&self) -> StoredCertificates {
        let issued = |it: &Option<Pair>| it.as_ref().map(|it| it.issued.clone());
        let State { current, previous, pending, .. } = &self.state;
        StoredCertificates { current: issued(current), previous: issued(previous), pending: pending.clone() }
    }

    /// Stores a new key, in place of the pending one if there is one. Call this before the request leaves the device.
    ///
    /// # Errors
    /// [`CacheError`]. The content of the store is unchanged; do not send the request.
    pub(crate) fn begin(&mut self, pending: PendingKey) -> Result<(), CacheError> {
        if without_armour(&pending.key.expose_pem(), KEY).is_none() {
            return Err(self.file.error("the key is not PEM with one block of PKCS#8"));
        }
        self.change(|state| state.pending = Some(pending))
    }

    /// Makes the pending key and this chain (leaf first) the current pair, and returns it. The pair before it stays as
    /// the previous one.
    ///
    /// # Errors
    /// [`FinishError`]. The content of the store is unchanged.
    pub(crate) fn finish(
        &mut self,
        chain: Vec<Certificate>,
        now: UnixSeconds,
    ) -> Result<IssuedCertificate, FinishError> {
        let pending = self.state.pending.as_ref().ok_or(FinishError::NoPendingKey)?;
        let key = pending.key.clone();
        let certificate = ClientCertificate::with_device_key(chain, &key).map_err(FinishError::Chain)?;
        let issued = IssuedCertificate { certificate, issued_at: now };
        let pair = Pair { issued: issued.clone(), key, rest: Members::default() };
        self.change(|state| {
            state.previous = state.current.replace(pair);
            state.pending = None;
        })?;
        Ok(issued)
    }

    /// Forgets the previous pair, because the hub has accepted the current one. Writes only if there is a previous
    /// pair.
    ///
    /// # Errors
    /// [`CacheError`]. The pair is forgotten only in memory. The next write also writes this change.
    pub(crate) fn confirm(&mut self) -> Result<(), CacheError> {
        if self.state.previous.is_none() { Ok(()) } else { self.change_anyway(|state| state.previous = None) }
    }

    /// Returns to the previous pair, because the hub has refused the current one. Without a previous pair, the store
    /// has no current pair afterwards.
    ///
    /// # Errors
    /// As for [`CertificateStore::confirm`].
    pub(crate) fn revert(&mut self) -> Result<(), CacheError> {
        self.change_anyway(|state| state.current = state.previous.take())
    }

    /// Forgets the pending key, because its request was refused.
    ///
    /// # Errors
    /// As for [`CertificateStore::confirm`].
    pub(crate) fn discard_pending(&mut self) -> Result<(), CacheError> {
        if self.state.pending.is_none() { Ok(()) } else { self.change_anyway(|state| state.pending = None) }
    }

    /// Forgets all keys and certificates, because DPS has assigned a hub without a certificate. The file stays, so the
    /// next start knows that DPS was asked.
    ///
    /// # Errors
    /// As for [`CertificateStore::confirm`].
    pub(crate) fn forget(&mut self) -> Result<(), CacheError> {
        self.change_anyway(|state| (state.current, state.previous, state.pending) = (None, None, None))
    }

    /// Changes the state on disk, then in memory.
    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), CacheError> {
        let mut state = self.state.clone();
        change(&mut state);
        self.file.replace(&encode(&state, &self.binding))?;
        self.state = state;
        self.has_file = true;
        Ok(())
    }

    /// Changes the state in memory, then on disk. If the change is not written, the state on disk is still one with
    /// which the device can start.
    fn change_anyway(&mut self, change: impl FnOnce(&mut State)) -> Result<(), CacheError> {
        change(&mut self.state);
        self.change(|_| ())
    }
}

impl PartialEq for PendingKey {
    /// Compares the public keys, and the rest.
    fn eq(&self, other: &Self) -> bool {
        self.key.signer().public_key() == other.key.signer().public_key()
            && self.request_id == other.request_id
            && self.created_at == other.created_at
    }
}

impl Eq for PendingKey {}

pub(super) fn parse(bytes: &[u8], binding: &Binding) -> Result<State, SetAsideReason> {
    let mut document = Document::parse(bytes, CONTENT)?;
    let members = document.members();
    let rest_of_binding = binding.check_without_credentials(members.take_object("binding"))?;
    let mut object = |name: &str| match members.take_object(name) {
        None if members.has(name) => Err(invalid(name)),
        found => Ok(found),
    };
    let current = object("current")?.map(parse_pair).transpose()?;
    let previous = object("previous")?.map(parse_pair).transpose()?;
    let pending = object("pending")?.map(parse_pending).transpose()?;
    Ok(State { current, previous, pending, document, binding: rest_of_binding })
}

fn parse_pair(mut members: Members) -> Result<Pair, SetAsideReason> {
    let key = take_key(&mut members)?;
    let issued_at = members.take_time("issuedAt").ok_or_else(|| invalid("issuedAt"))?;
    let chain = members.take_texts("chain").ok_or_else(|| invalid("chain"))?;
    let chain: String = chain.iter().map(|it| with_armour(it, CERTIFICATE)).collect();
    let certificate = Certificate::chain_from_pem(chain.as_bytes())
        .and_then(|it| ClientCertificate::with_device_key(it, &key))
        .map_err(|error| damaged(format!("it contains a certificate that cannot be used: {error}")))?;
    Ok(Pair { issued: IssuedCertificate { certificate, issued_at }, key, rest: members })
}

/// Does not keep unknown members: they belong to a request, which ends soon.
fn parse_pending(mut members: Members) -> Result<PendingKey, SetAsideReason> {
    let key = take_key(&mut members)?;
    let request_id = members.take_optional_text("requestId")?;
    let created_at = members.take_time("createdAt").ok_or_else(|| invalid("createdAt"))?;
    Ok(PendingKey { key, request_id, created_at })
}

fn take_key(members: &mut Members) -> Result<DeviceKey, SetAsideReason> {
    let key = Zeroizing::new(members.take_text("privateKey").ok_or_else(|| invalid("privateKey"))?);
    DeviceKey::from_pem(&Zeroizing::new(with_armour(&key, KEY))).map_err(|_| invalid("privateKey"))
}

pub(super) fn encode(state: &State, binding: &Binding) -> Zeroizing<Vec<u8>> {
    let mut document = state.document.clone();
    let members = document.members();
    members.set_object("binding", Some(binding.write(state.binding.clone())));
    members.set_object("current", state.current.as_ref().map(encode_pair));
    members.set_object("previous", state.previous.as_ref().map(encode_pair));
    members.set_object("pending", state.pending.as_ref().map(encode_pending));
    document.encode(CONTENT)
}

fn encode_pair(pair: &Pair) -> Members {
    let mut members = pair.rest.clone();
    let chain = pair.issued.certificate.chain().iter();
    members.set_texts("chain", chain.filter_map(|it| without_armour(&it.to_pem(), CERTIFICATE)).collect());
    members.set_time("issuedAt", pair.issued.issued_at);
    members.set_text("privateKey", without_armour(&pair.key.expose_pem(), KEY));
    members
}

fn encode_pending(pending: &PendingKey) -> Members {
    let mut members = Members::default();
    members.set_time("createdAt", pending.created_at);
    members.set_text("privateKey", without_armour(&pending.key.expose_pem(), KEY));
    members.set_text("requestId", pending.request_id.clone());
    members
}

/// The base64 of a PEM text with one block, without line breaks. A line break would be an escape sequence in JSON, and
/// the JSON parser keeps a copy of a text with escape sequences.
fn without_armour(pem: &str, label: &str) -> Option<String> {
    let begin = format!("-----BEGIN {label}-----");
    let body = pem.trim().strip_prefix(&begin)?.strip_suffix(&format!("-----END {label}-----"))?;
    let mut base64 = String::with_capacity(body.len());
    base64.extend(body.chars().filter(|it| !it.is_ascii_whitespace()));
    base64.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/=".contains(&it)).then_some(base64)
}

/// A PEM text with one block.
fn with_armour(base64: &str, label: &str) -> String {
    const LINE_LENGTH: usize = 64;
    let mut pem = String::with_capacity(base64.len() + base64.len() / LINE_LENGTH + 2 * label.len() + 64);
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in base64.as_bytes().chunks(LINE_LENGTH) {
        // An invalid text becomes an invalid key.
        pem.push_str(std::str::from_utf8(line).unwrap_or("?"));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
