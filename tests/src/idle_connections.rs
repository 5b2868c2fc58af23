//! Opens thousands of connections and leaves them idle.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long a task waits before it reopens its connection.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// Idle connections. A task reopens each connection when the peer closes it, but only after all connections have been
/// open once; otherwise reopened connections could keep the others from opening. Dropping the value closes them.
#[derive(Debug)]
pub struct IdleConnections {
    tasks: JoinSet<()>,
    opened: watch::Receiver<usize>,
}

impl IdleConnections {
    /// Opens `count` connections to the addresses in turn, and writes the first bytes on each.
    #[must_use]
    pub fn open(addresses: &[SocketAddr], count: usize, first: &'static [u8]) -> Self {
        let (counter, opened) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for (number, address) in addresses.iter().copied().cycle().take(count).enumerate() {
            let counter = counter.clone();
            tasks.spawn(async move {
                let mut is_new = true;
                loop {
                    if let Ok(stream) = half_open(number, address, first).await {
                        if std::mem::take(&mut is_new) {
                            counter.send_modify(|it| *it += 1);
                        }
                        until_closed(stream).await;
                        // Cannot fail: this task holds the sender.
                        let _ = counter.subscribe().wait_for(|it| *it == count).await;
                    }
                    sleep(REOPEN_DELAY).await;
                }
            });
        }
        Self { tasks, opened }
    }

    /// Waits until each connection has been open once.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn all_opened(&mut self) {
        let count = self.tasks.len();
        // Cannot fail: the tasks hold the sender.
        let _ = self.opened.wait_for(|it| *it == count).await;
    }
}

/// The first bytes of a connection.
pub mod first_bytes {
    /// No bytes.
    pub const NOTHING: &[u8] = b"";

    /// The first bytes of a TLS handshake.
    pub const PARTIAL_CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
}

/// Connects. On Linux, uses several local addresses, because one address has only about 28,000 ephemeral ports.
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
    let mut buffer = [0; 64];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}
