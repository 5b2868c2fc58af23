//! The credentials of a device, in the order in which the device tries them.

use std::sync::Arc;

use hubward_transport::{ClientCertificate, Credential, SharedKey};

/// A credential and the name that events and logs show for it.
///
/// Without a name of the caller's, the name is made from the kind and the position of the credential: `primary key`,
/// `secondary key`, `certificate`, `second certificate`, and so on.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hubward::device::NamedCredential;
/// use hubward::{ClientCertificate, Device};
///
/// let factory = ClientCertificate::from_files("factory.pem", "factory.key", None)?;
/// let device = Device::from_env()?.fallback(NamedCredential::new("factory certificate", factory));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct NamedCredential {
    name: Option<Arc<str>>,
    credential: Credential,
}

impl NamedCredential {
    /// Gives a credential a name. The name appears in events and logs, so it must not be a secret.
    pub fn new(name: impl Into<Arc<str>>, credential: impl Into<Credential>) -> Self {
        Self { name: Some(name.into()), credential: credential.into() }
    }

    /// The credential.
    #[must_use]
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }
}

impl From<Credential> for NamedCredential {
    fn from(credential: Credential) -> Self {
        Self { name: None, credential }
    }
}

impl From<SharedKey> for NamedCredential {
    fn from(key: SharedKey) -> Self {
        Self::from(Credential::from(key))
    }
}

impl From<ClientCertificate> for NamedCredential {
    fn from(certificate: ClientCertificate) -> Self {
        Self::from(Credential::from(certificate))
    }
}

/// The credentials of a device; at least one.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    list: Arc<[Entry]>,
}

#[derive(Debug, Clone)]
struct Entry {
    name: Arc<str>,
    credential: Credential,
}

impl Credentials {
    /// Makes the list of `first` and the credentials after it.
    pub(crate) fn of(first: NamedCredential, others: impl IntoIterator<Item = NamedCredential>) -> Self {
        Self { list: entries(std::iter::once(first).chain(others)).into() }
    }

    /// Makes the list. Returns `None` if there is no credential.
    pub(crate) fn new(credentials: impl IntoIterator<Item = NamedCredential>) -> Option<Self> {
        let list = entries(credentials);
        (!list.is_empty()).then(|| Self { list: list.into() })
    }

    /// Number of credentials.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The credential at this position. For a position past the end, the first credential.
    pub(crate) fn get(&self, position: usize) -> &Credential {
        &self.entry(position).credential
    }

    /// The name of the credential at this position.
    pub(crate) fn name(&self, position: usize) -> Arc<str> {
        Arc::clone(&self.entry(position).name)
    }

    /// All credentials, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Credential> {
        self.list.iter().map(|it| &it.credential)
    }

    fn entry(&self, position: usize) -> &Entry {
        self.list.get(position).unwrap_or(&self.list[0])
    }
}

fn entries(credentials: impl IntoIterator<Item = NamedCredential>) -> Vec<Entry> {
    let mut list: Vec<Entry> = Vec::new();
    for NamedCredential { name, credential } in credentials {
        let earlier = list.iter().filter(|it| kind(&it.credential) == kind(&credential)).count();
        let name = name.unwrap_or_else(|| default_name(&credential, earlier).into());
        list.push(Entry { name, credential });
    }
    list
}

/// What the default name of a credential says about it.
const fn kind(credential: &Credential) -> &'static str {
    match credential {
        Credential::SharedKey(_) => "key",
        Credential::Certificate(_) | Credential::MissingCertificate => "certificate",
        Credential::Signer(_) => "signer",
        Credential::Token(_) => "token",
        _ => "credential",
    }
}

/// The name of a credential, if `earlier` credentials of its kind come before it.
fn default_name(credential: &Credential, earlier: usize) -> String {
    let kind = kind(credential);
    match (kind, earlier) {
        ("key", 0) => "primary key".to_owned(),
        ("key", 1) => "secondary key".to_owned(),
        (kind, 0) => kind.to_owned(),
        (kind, 1) => format!("second {kind}"),
        (kind, earlier) => format!("{kind} {}", earlier + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_has_the_callers_name_or_one_from_its_kind_and_position() {
        let key = || NamedCredential::from(SharedKey::generate().expect("randomness"));
        let missing = || NamedCredential::from(Credential::MissingCertificate);
        let own = NamedCredential::new("factory certificate", Credential::MissingCertificate);
        let all = Credentials::new([key(), missing(), key(), own, key(), missing()]).expect("credentials");
        let names: Vec<Arc<str>> = (0..all.count()).map(|it| all.name(it)).collect();
        let expected = ["primary key", "certificate", "secondary key", "factory certificate", "key 3", "certificate 3"];
        assert_eq!(names.iter().map(|it| &**it).collect::<Vec<_>>(), expected);
        assert!(Credentials::new([]).is_none());
    }
}
