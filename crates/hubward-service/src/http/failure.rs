//! Converts errors of hyper and rustls into [`ServiceError`].

use std::error::Error;
use std::io;
use std::iter::successors;

use hubward_dial::{DialError, TlsFault};
use rustls::pki_types::InvalidDnsNameError;

use crate::error::ServiceError;

/// Converts an error that occurred before the answer.
pub(crate) fn of_request(endpoint: &str, error: &hyper_util::client::legacy::Error) -> ServiceError {
    let endpoint = endpoint.to_owned();
    if let Some(DialError::Connect { source, .. }) = find::<DialError>(error) {
        return ServiceError::Connect { endpoint, source: copied(source) };
    }
    if find::<InvalidDnsNameError>(error).is_some() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a host name");
        return ServiceError::Connect { endpoint, source };
    }
    of_exchange(endpoint, error)
}

/// Converts an error that occurred while reading the answer's body.
pub(crate) fn of_body(endpoint: &str, error: &hyper::Error) -> ServiceError {
    of_exchange(endpoint.to_owned(), error)
}

fn of_exchange(endpoint: String, error: &(dyn Error + 'static)) -> ServiceError {
    let io = find::<io::Error>(error);
    // This client logs in with tokens, never with a certificate.
    if let Some(fault) = TlsFault::find(error, false) {
        let source = io.map_or_else(|| io::Error::from(io::ErrorKind::InvalidData), copied);
        return ServiceError::Tls { endpoint, fault, source };
    }
    if let Some(broken) = find::<hyper::Error>(error).filter(|it| it.is_parse()) {
        return ServiceError::Protocol { endpoint, problem: format!("the answer is not HTTP: {broken}") };
    }
    // `Closed` already says that the connection ended early.
    let source = io.filter(|it| root(it).kind() != io::ErrorKind::UnexpectedEof).map(copied);
    ServiceError::Closed { endpoint, source }
}

/// The first error of type `E` among `error` and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let cause = |it: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> { (*it).source() };
    successors(Some(error), cause).find_map(|it| it.downcast_ref())
}

/// The innermost of nested I/O errors.
fn root(error: &io::Error) -> &io::Error {
    error.get_ref().and_then(|it| it.downcast_ref()).map_or(error, root)
}

/// An owned copy of a borrowed error.
fn copied(error: &io::Error) -> io::Error {
    let root = root(error);
    io::Error::new(root.kind(), root.to_string())
}
