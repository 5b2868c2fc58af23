//! Connections that are opened and left alone, very many of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long one who was sent away takes to come again.
const AGAIN: Duration = Duration::from_secs(1);

/// A number of connections, each opened again when it is closed; but only when all have been open once,
/// so that those that come again do not keep others from coming at all. They end with the value.
#[derive(Debug)]
pub struct Crowd {
    members: JoinSet<()>,
    arrived: watch::Receiver<usize>,
}

impl Crowd {
    /// Opens so many connections, to the addresses in turn, and writes the first bytes of what never
    /// comes.
    #[must_use]
    pub fn gather(addresses: &[SocketAddr], count: usize, first: &'static [u8]) -> Self {
        let (arrives, arrived) = watch::channel(0);
        let mut members = JoinSet::new();
        for (number, address) in addresses.iter().copied().cycle().take(count).enumerate() {
            let arrives = arrives.clone();
            members.spawn(async move {
                let mut is_new = true;
                loop {
                    if let Ok(stream) = half_open(number, address, first).await {
                        if std::mem::take(&mut is_new) {
                            arrives.send_modify(|it| *it += 1);
                        }
                        until_closed(stream).await;
                        // This task holds the other end, too.
                        let _ = arrives.subscribe().wait_for(|it| *it == count).await;
                    }
                    sleep(AGAIN).await;
                }
            });
        }
        Self { members, arrived }
    }

    /// Waits until each has been connected once.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn has_come(&mut self) {
        let count = self.members.len();
        // The members hold the other end.
        let _ = self.arrived.wait_for(|it| *it == count).await;
    }
}

/// Bytes that a peer may begin with.
pub mod first {
    /// Nothing at all.
    pub const NOTHING: &[u8] = b"";

    /// The first bytes of a TLS handshake.
    pub const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
}

/// An address has some 28,000 ports to connect from, so several are used where that is possible.
async fn half_open(number: usize, address: SocketAddr, first: &[u8]) -> io::Result<TcpStream> {
    let mut stream = if cfg!(target_os = "linux") && address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let socket = TcpSocket::new_v4()?;
        let [.., low] = (number % 100).to_be_bytes();
        socket.bind(SocketAddr::from(([127, 0, 1, low + 1], 0)))?;
        socket.connect(address).await?
    } else {
        TcpStream::connect(address).await?
    };
    stream.write_all(first).await?;
    Ok(stream)
}

async fn until_closed(mut stream: TcpStream) {
    let mut waste = [0; 64];
    while matches!(stream.read(&mut waste).await, Ok(1..)) {}
}
