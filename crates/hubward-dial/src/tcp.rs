//! Opens TCP connections: applies dial overrides, resolves the name, and uses the first address that answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::all_failed::AllFailed;
use crate::{DialError, DialOverride, DialProgress, DialStep, Endpoint};

/// The target of the log events about dial overrides. If an override changes the address, the dialer logs an event with
/// the level INFO before it dials the new address.
///
/// The event has three fields:
///
/// * `endpoint`: the host and port that the caller asked for.
/// * `address`: the host and port that the dialer dials.
/// * `rule`: the [`DialOverride`] that applies.
///
/// A program can subscribe to this target, and tell its user about the override.
pub const OVERRIDE_LOG_TARGET: &str = "hubward_dial::override";

/// How long the dialer waits for an answer from one address before it also tries the next address.
///
/// Source: RFC 8305, section 5 (at least 100 ms, 250 ms recommended).
const STAGGER: Duration = Duration::from_millis(250);

/// Opens TCP connections without encryption. For TLS, use [`TlsDialer`](crate::TlsDialer).
#[derive(Debug, Clone)]
#[must_use]
pub struct TcpDialer {
    dial_overrides: Vec<DialOverride>,
    connect_timeout: Duration,
    progress: DialProgress,
}

impl TcpDialer {
    /// Default limit for name resolution and the TCP connection together.
    ///
    /// The DPS client and the hub client have a limit of 30 s for each attempt to connect. The default limits of the
    /// steps (TCP, TLS and WebSocket) are shorter, even together.
    ///
    /// If one step hangs, its own limit therefore ends the attempt before the 30 s pass, and the error names this step.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Creates a dialer without overrides and with the default limit.
    pub fn new() -> Self {
        Self { dial_overrides: Vec::new(), connect_timeout: Self::CONNECT_TIMEOUT, progress: DialProgress::default() }
    }

    /// Sets the rules that replace the address to dial. The dialer uses the first rule that matches.
    pub fn dial_overrides(mut self, overrides: Vec<DialOverride>) -> Self {
        self.dial_overrides = overrides;
        self
    }

    /// Sets the limit for name resolution and the TCP connection together.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Returns the progress of the latest dial. This dialer and a dialer on top of it, such as `TlsDialer`, record
    /// their steps in this progress.
    #[must_use]
    pub const fn progress(&self) -> &DialProgress {
        &self.progress
    }

    /// Connects to `to`. If an override matches `to`, connects to the address in the override instead. Returns the
    /// first connection that succeeds, with `TCP_NODELAY` set.
    ///
    /// If an override changes the address, logs an event with the target [`OVERRIDE_LOG_TARGET`].
    ///
    /// Tries IPv4 and IPv6 addresses alternately, and the addresses of one family in the resolver's order. If an
    /// attempt fails, or does not succeed within 250 ms, starts an attempt with the next address. Earlier attempts
    /// continue.
    ///
    /// # Errors
    /// [`DialError::Connect`]; its source names every address that was tried.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(&self, to: &Endpoint) -> Result<TcpStream, DialError> {
        self.progress.enter(DialStep::Connect);
        let target = self.target(to);
        let mut tried = Vec::new();
        let connected = match timeout(self.connect_timeout, connect(&target, &mut tried)).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out(&target, &tried, self.connect_timeout)),
        };
        connected.map_err(|source| DialError::Connect { endpoint: to.clone(), source })
    }

    /// Returns the address to dial for `to`. If an override changes the address, logs the override.
    fn target(&self, to: &Endpoint) -> Endpoint {
        let found = DialOverride::find(&self.dial_overrides, to);
        let Some((rule, target)) = found.filter(|(_, target)| target != to) else { return to.clone() };
        tracing::info!(
            target: OVERRIDE_LOG_TARGET, endpoint = %to, address = %target, %rule, "an override changes the address"
        );
        target
    }
}

impl Default for TcpDialer {
    fn default() -> Self {
        Self::new()
    }
}

async fn connect(target: &Endpoint, tried: &mut Vec<SocketAddr>) -> io::Result<TcpStream> {
    let Endpoint { host, port } = target;
    let found = tokio::net::lookup_host((host.as_str(), *port))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("looking up `{host}`: {error}")))?;
    let stream = race(in_turn(found), tried).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns the first connection that succeeds.
async fn race(addresses: Vec<SocketAddr>, tried: &mut Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            tried.push(address);
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let outcome = if waiting.len() == 0 {
            attempts.join_next().await
        } else if let Ok(outcome) = timeout(STAGGER, attempts.join_next()).await {
            outcome
        } else {
            continue;
        };
        match outcome {
            Some(Ok((_, Ok(stream)))) => return Ok(stream),
            Some(Ok((address, Err(error)))) => failures.push((address, error)),
            Some(Err(stopped)) => return Err(io::Error::other(stopped)),
            None => return Err(AllFailed::into_io_error(failures)),
        }
    }
}

/// Sorts the addresses: IPv4 and IPv6 alternate, and the addresses of one family keep the resolver's order. If one
/// family does not work, the dialer loses only one attempt before it tries the other family.
fn in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = found.collect();
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    // The addresses in the family of the first address get the places 0, 2, 4 and so on. The addresses in the other
    // family get the places 1, 3, 5 and so on.
    let (mut same, mut other) = (0, 0);
    let mut places: Vec<(usize, SocketAddr)> = Vec::with_capacity(found.len());
    for address in found.drain(..) {
        let is_same = address.is_ipv6() == first_is_v6;
        let count = if is_same { &mut same } else { &mut other };
        places.push((2 * *count + usize::from(!is_same), address));
        *count += 1;
    }
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, address)| address).collect()
}

fn timed_out(target: &Endpoint, tried: &[SocketAddr], limit: Duration) -> io::Error {
    let text = if tried.is_empty() {
        format!("the name `{}` was not resolved within {limit:?}", target.host)
    } else {
        let names: Vec<String> = tried.iter().map(ToString::to_string).collect();
        format!("no answer from {} within {limit:?}", names.join(", "))
    };
    io::Error::new(io::ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|it| it.parse().expect("an address")).collect()
    }

    #[test]
    fn address_families_alternate_starting_with_the_resolvers_first() {
        for (found, expected) in [
            (&["[::1]:1", "127.0.0.1:1"][..], &["[::1]:1", "127.0.0.1:1"][..]),
            (&["[::1]:1", "[::2]:1", "127.0.0.1:1"], &["[::1]:1", "127.0.0.1:1", "[::2]:1"]),
            (
                &["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1", "[::1]:1"],
                &["127.0.0.1:1", "[::1]:1", "127.0.0.2:1", "127.0.0.3:1"],
            ),
            (&[], &[]),
        ] {
            assert_eq!(in_turn(addresses(found).into_iter()), addresses(expected));
        }
    }

    /// Returns an address that refuses connections. The bound socket prevents other programs from listening at this
    /// address.
    fn refusing() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = socket.local_addr().expect("its address");
        (socket, address)
    }

    #[tokio::test]
    async fn tries_the_next_address_when_one_fails() {
        let (_socket, dead) = refusing();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let alive = listener.local_addr().expect("its address");
        let mut tried = Vec::new();
        let stream = race(vec![dead, alive], &mut tried).await.expect("the second");
        assert_eq!(stream.peer_addr().expect("its address"), alive);
        assert_eq!(tried, [dead, alive]);
    }

    #[tokio::test]
    async fn a_refused_connection_names_every_address() {
        let ((_first, first), (_second, second)) = (refusing(), refusing());
        let error = race(vec![first, second], &mut Vec::new()).await.expect_err("no program listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert!(text.contains(&first.to_string()) && text.contains(&second.to_string()), "{text}");
    }

    #[tokio::test]
    async fn an_override_changes_the_address_and_not_the_name() {
        let to = Endpoint::new("hub.example", 8883);
        let dialer_to = |address: SocketAddr| {
            let rule = format!("hub.example:8883:127.0.0.1:{}", address.port()).parse().expect("a rule");
            TcpDialer::new().dial_overrides(vec![rule])
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let alive = listener.local_addr().expect("its address");
        let stream = dialer_to(alive).connect(&to).await.expect("the rule applies");
        assert_eq!(stream.peer_addr().expect("its address"), alive);
        assert!(stream.nodelay().expect("the option"));

        let (_socket, dead) = refusing();
        let error = dialer_to(dead).connect(&to).await.expect_err("no program listens");
        assert_eq!(error.to_string(), "could not connect to hub.example:8883");
        assert!(error.is_refused_by_loopback());
        let DialError::Connect { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().starts_with(&dead.to_string()), "{source}");
    }

    #[tokio::test]
    async fn a_failed_lookup_names_the_host() {
        // The name is longer than DNS allows, so the resolver fails without a query.
        let name = "x".repeat(300);
        let error = TcpDialer::new().connect(&Endpoint::new(name.clone(), 1)).await.expect_err("no such name");
        let DialError::Connect { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().starts_with(&format!("looking up `{name}`: ")), "{source}");
    }

    #[test]
    fn a_timeout_names_the_addresses_or_the_unresolved_name() {
        let target = Endpoint::new("hub.example", 1);
        let limit = Duration::from_secs(3);
        let tried = [SocketAddr::from((Ipv6Addr::LOCALHOST, 1)), SocketAddr::from((Ipv4Addr::LOCALHOST, 1))];
        assert_eq!(timed_out(&target, &tried, limit).to_string(), "no answer from [::1]:1, 127.0.0.1:1 within 3s");
        assert_eq!(timed_out(&target, &[], limit).to_string(), "the name `hub.example` was not resolved within 3s");
    }
}
