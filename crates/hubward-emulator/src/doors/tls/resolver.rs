//! Selects the certificate for a client by the name that the client asks for (SNI). If the name does not belong to the
//! emulator, there is no certificate: the acceptor has then already refused the client, before it uses the resolver.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{BadCertificate, Ca, Names, leaf};
use crate::state::secret_file::CaError;

/// Issues leaf certificates on demand and caches them. The cache holds at most one certificate for each name of the
/// emulator.
#[derive(Debug)]
pub(crate) struct Resolver {
    ca: Arc<Ca>,
    names: Arc<Names>,
    bad: Option<BadCertificate>,
    /// A certificate for all names, used for clients that do not send a name (SNI). A client that connects to an IP
    /// address sends no name.
    default: Arc<CertifiedKey>,
    made: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Resolver {
    pub(crate) fn new(ca: Arc<Ca>, names: Arc<Names>, bad: Option<BadCertificate>) -> Result<Self, CaError> {
        let default = leaf::mint(&ca, &names.all, bad)?;
        Ok(Self { ca, names, bad, default, made: Mutex::default() })
    }

    fn for_name(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        if !self.names.contains(&name) {
            return None;
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = made.get(&name) {
            return Some(Arc::clone(leaf));
        }
        let leaf = leaf::mint(&self.ca, &BTreeSet::from([name.clone()]), self.bad)
            .inspect_err(|error| tracing::error!(%error, "cannot issue a certificate"))
            .ok()?;
        made.insert(name, Arc::clone(&leaf));
        Some(leaf)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            Some(name) => self.for_name(name),
            None => Some(Arc::clone(&self.default)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_one_leaf_per_name_and_none_for_unknown_names() {
        let ca = Arc::new(Ca::generate().expect("a CA"));
        let names = Names::new(["localhost".to_owned(), "Hub.example".to_owned(), "127.0.0.1".to_owned()]);
        let resolver = Resolver::new(ca, Arc::new(names), None).expect("a resolver");
        let first = resolver.for_name("HUB.example").expect("a leaf");
        let second = resolver.for_name("hub.example").expect("a leaf");
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &resolver.for_name("localhost").expect("a leaf")));
        assert!(resolver.for_name("evil.example").is_none());
        assert_eq!(first.cert.len(), 2, "leaf and CA");
    }
}
