//! The failure of every address of a name.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Each address that was tried, and why it failed. This error is inside the [`io::Error`] that the dialer returns.
#[derive(Debug)]
pub(crate) struct AllFailed(Vec<(SocketAddr, io::Error)>);

impl AllFailed {
    /// Combines the failures into the error that the dialer returns. Its kind is the kind of the first failure.
    pub(crate) fn into_io_error(failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
        match failures.first() {
            Some((_, first)) => io::Error::new(first.kind(), Self(failures)),
            None => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        }
    }

    /// Returns the failures inside an error that [`into_io_error`](Self::into_io_error) made.
    pub(crate) fn find(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns `true` if every address is a loopback address, and at least one refused the connection.
    ///
    /// One refusal is enough. For example, on a machine without IPv6, `127.0.0.1` refuses the connection, but the error
    /// for `::1` is that the address is not available.
    pub(crate) fn is_refused_by_loopback(&self) -> bool {
        self.0.iter().all(|(address, _)| address.ip().to_canonical().is_loopback())
            && self.0.iter().any(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, (address, error))| {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")
        })
    }
}

impl std::error::Error for AllFailed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_by_loopback_addresses_counts() {
        use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, TimedOut};

        for (failures, expected) in [
            (&[("127.0.0.1:1", ConnectionRefused)][..], true),
            (&[("127.8.8.8:1", ConnectionRefused)], true),
            (&[("[::1]:1", AddrNotAvailable), ("127.0.0.1:1", ConnectionRefused)], true),
            (&[("[::ffff:127.0.0.1]:1", ConnectionRefused)], true),
            (&[("127.0.0.1:1", TimedOut)], false),
            (&[("192.0.2.1:1", ConnectionRefused)], false),
            (&[("127.0.0.1:1", ConnectionRefused), ("192.0.2.1:1", ConnectionRefused)], false),
        ] {
            let failures =
                failures.iter().map(|(address, kind)| (address.parse().expect("an address"), (*kind).into()));
            let error = AllFailed::into_io_error(failures.collect());
            let found = AllFailed::find(&error).is_some_and(AllFailed::is_refused_by_loopback);
            assert_eq!(found, expected, "{error}");
        }
        assert!(AllFailed::find(&AllFailed::into_io_error(Vec::new())).is_none());
    }
}
