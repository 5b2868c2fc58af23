//! From hyper's and rustls' errors to hubward's.

use std::error::Error;
use std::io;
use std::iter::successors;

use hubward_dial::{DialError, TlsFault as DialFault};
use hubward_transport::{ProtoError, Stage, TlsFault, TransportError};
use rustls::pki_types::InvalidDnsNameError;

use crate::dps::Asked;

/// Why there is no answer.
pub(crate) fn of_request(asked: &Asked<'_>, error: &hyper_util::client::legacy::Error) -> TransportError {
    let endpoint = asked.endpoint.to_string();
    if let Some(DialError::Connect { source, .. }) = find::<DialError>(error) {
        return TransportError::Connect { endpoint, source: again(source) };
    }
    if find::<InvalidDnsNameError>(error).is_some() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a host name");
        return TransportError::Connect { endpoint, source };
    }
    // TCP is up when the client fails to connect now.
    let stage = if error.is_connect() { Stage::Tls } else { asked.stage };
    of_exchange(asked, stage, error)
}

/// Why an answer stopped in the middle.
pub(crate) fn of_body(asked: &Asked<'_>, error: &hyper::Error) -> TransportError {
    of_exchange(asked, asked.stage, error)
}

/// The peer spoke, but not by the rules.
pub(crate) fn protocol(asked: &Asked<'_>, source: ProtoError) -> TransportError {
    TransportError::Protocol { endpoint: asked.endpoint.to_string(), stage: asked.stage, source }
}

fn of_exchange(asked: &Asked<'_>, stage: Stage, error: &(dyn Error + 'static)) -> TransportError {
    let endpoint = asked.endpoint.to_string();
    let io = find::<io::Error>(error);
    if let Some(fault) = DialFault::find(error) {
        let source = io.map_or_else(|| io::Error::from(io::ErrorKind::InvalidData), again);
        return TransportError::Tls { endpoint, fault: tls_fault(fault), source };
    }
    if let Some(broken) = find::<hyper::Error>(error).filter(|it| it.is_parse()) {
        return protocol(asked, ProtoError::Unexpected(format!("the answer is not HTTP: {broken}")));
    }
    // That the end came without notice is what `Closed` says.
    let source = io.filter(|it| root(it).kind() != io::ErrorKind::UnexpectedEof).map(again);
    TransportError::Closed { endpoint, stage, source }
}

const fn tls_fault(fault: DialFault) -> TlsFault {
    match fault {
        DialFault::Untrusted => TlsFault::Untrusted,
        DialFault::Expired => TlsFault::Expired,
        DialFault::NotYetValid => TlsFault::NotYetValid,
        DialFault::WrongName => TlsFault::WrongName,
        DialFault::NotTls => TlsFault::NotTls,
        _ => TlsFault::Other,
    }
}

/// The first error of this type among `error` and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let cause = |it: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> { (*it).source() };
    successors(Some(error), cause).find_map(|it| it.downcast_ref())
}

/// An I/O error inside I/O errors.
fn root(error: &io::Error) -> &io::Error {
    error.get_ref().and_then(|it| it.downcast_ref()).map_or(error, root)
}

/// An error to own, made from one that is borrowed.
fn again(error: &io::Error) -> io::Error {
    let root = root(error);
    io::Error::new(root.kind(), root.to_string())
}
