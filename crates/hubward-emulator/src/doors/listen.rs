//! Binding one port on several addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Maximum number of connections that the system queues until the emulator accepts them. The system may use a lower
/// limit.
const BACKLOG: u32 = 4096;

/// Maximum number of attempts to bind all addresses if the requested port is 0. Each attempt tries another free port.
const ATTEMPTS: u32 = 20;

/// No listener could be bound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// The address is in use, or it is not an address of this machine.
    #[error("cannot listen on {address} for {what}")]
    Bind {
        /// The listener: `MQTT`, `HTTPS` or `admin`.
        what: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("no address to listen on is configured")]
    NoAddress,
}

/// Binds `port` on all addresses. If `port` is 0, lets the system choose a free port, and binds this port on all
/// addresses.
///
/// If the machine has no IPv6, skips the IPv6 addresses, provided that an earlier address in the list is bound.
pub(crate) fn bind(what: &'static str, addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, BindError> {
    let attempts = if port == 0 { ATTEMPTS } else { 1 };
    let mut last = None;
    for _ in 0..attempts {
        match bind_once(addresses, port) {
            Ok(listeners) => return Ok(listeners),
            Err((address, source)) => last = Some(BindError::Bind { what, address, source }),
        }
    }
    Err(last.unwrap_or(BindError::NoAddress))
}

fn bind_once(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = port;
    for &ip in addresses {
        let address = SocketAddr::new(ip, port);
        match listen(address) {
            Ok(listener) => {
                port = listener.local_addr().map_err(|error| (address, error))?.port();
                listeners.push(listener);
            }
            Err(error) if ip.is_ipv6() && !listeners.is_empty() && lacks_ipv6(&error) => {
                tracing::debug!(%ip, %error, "this machine has no IPv6; the address is skipped");
            }
            Err(error) => return Err((address, error)),
        }
    }
    Ok(listeners)
}

/// Listens with a long backlog. If the backlog were full, the system would not answer new clients, and they would retry
/// only after some seconds.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Lets a restarted emulator use the same port at once. Do not set this option on Windows, where it would let two
    // programs share the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        // `EAFNOSUPPORT` on Linux and macOS; `io::ErrorKind` has no variant for it.
        || matches!(error.raw_os_error(), Some(97 | 47))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn both_families_share_a_port() {
        let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let listeners = bind("MQTT", &addresses, 0).expect("free ports");
        let ports: Vec<u16> = listeners.iter().map(|it| it.local_addr().expect("bound").port()).collect();
        assert!(ports.iter().all(|it| *it == ports[0] && *it != 0), "{ports:?}");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let addresses = [Ipv4Addr::LOCALHOST.into()];
        let first = bind("MQTT", &addresses, 0).expect("a free port");
        let taken = first[0].local_addr().expect("bound");
        let error = bind("HTTPS", &addresses, taken.port()).expect_err("taken");
        assert_eq!(error.to_string(), format!("cannot listen on {taken} for HTTPS"));
    }
}
