//! Converts errors of hyper and rustls into those of hubward.

use std::error::Error;
use std::io;
use std::iter::successors;

use hubward_dial::{DialError, TlsFault as DialFault};
use hubward_transport::{ProtoError, Stage, TlsFault, TransportError};
use rustls::pki_types::InvalidDnsNameError;

use crate::request_context::RequestContext;

/// Converts an error that occurred before the answer.
pub(crate) fn of_request(context: &RequestContext<'_>, error: &hyper_util::client::legacy::Error) -> TransportError {
    let endpoint = context.endpoint.to_string();
    if let Some(failed @ DialError::Connect { source, .. }) = find::<DialError>(error) {
        let source = copied(source);
        return if failed.is_refused_by_loopback() {
            TransportError::NotListening { endpoint, source }
        } else {
            TransportError::Connect { endpoint, source }
        };
    }
    if find::<InvalidDnsNameError>(error).is_some() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a host name");
        return TransportError::Connect { endpoint, source };
    }
    // The code above has handled the failures to open the TCP connection. If hyper still reports a failure to connect,
    // the TLS handshake has failed.
    let stage = if error.is_connect() { Stage::Tls } else { context.stage };
    of_exchange(context, stage, error)
}

/// Converts an error that occurred while reading the answer's body.
pub(crate) fn of_body(context: &RequestContext<'_>, error: &hyper::Error) -> TransportError {
    of_exchange(context, context.stage, error)
}

/// The error for an answer that violates the protocol.
pub(crate) fn protocol(context: &RequestContext<'_>, source: ProtoError) -> TransportError {
    TransportError::Protocol { endpoint: context.endpoint.to_string(), stage: context.stage, source }
}

fn of_exchange(context: &RequestContext<'_>, stage: Stage, error: &(dyn Error + 'static)) -> TransportError {
    let endpoint = context.endpoint.to_string();
    let io = find::<io::Error>(error);
    if let Some(fault) = DialFault::find(error, context.has_certificate) {
        let source = io.map_or_else(|| io::Error::from(io::ErrorKind::InvalidData), copied);
        return TransportError::Tls { endpoint, fault: tls_fault(fault), source };
    }
    if let Some(broken) = find::<hyper::Error>(error).filter(|it| it.is_parse()) {
        return protocol(context, ProtoError::Unexpected(format!("the answer is not HTTP: {broken}")));
    }
    // `Closed` already says that the connection ended early.
    let source = io.filter(|it| root(it).kind() != io::ErrorKind::UnexpectedEof).map(copied);
    TransportError::Closed { endpoint, stage, source }
}

const fn tls_fault(fault: DialFault) -> TlsFault {
    match fault {
        DialFault::Untrusted => TlsFault::Untrusted,
        DialFault::Expired => TlsFault::Expired,
        DialFault::NotYetValid => TlsFault::NotYetValid,
        DialFault::WrongName => TlsFault::WrongName,
        DialFault::UnknownName => TlsFault::UnknownName,
        DialFault::NotTls => TlsFault::NotTls,
        DialFault::ClientCertificate => TlsFault::ClientCertificate,
        DialFault::Signing => TlsFault::Signing,
        _ => TlsFault::Other,
    }
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
