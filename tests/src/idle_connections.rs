//! Opens thousands of connections and leaves them idle.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time that a task waits before it reopens its connection.
const REOPEN_DELAY: Duration = Duration::from_secs(1);

/// Idle connections. Each connection has its own task. If the peer closes a connection, the task opens it again.
///
/// A task reopens its connection only after all tasks have opened their connections once. Otherwise, reopened
/// connections could prevent other tasks from opening their first connection.
///
/// If the value is dropped, it closes the connections.
#[derive(Debug)]
pub struct IdleConnections {
    tasks: JoinSet<()>,
    opened: watch::Receiver<usize>,
}

impl IdleConnections {
    /// Opens `count` connections and writes `first` on each one. Distributes the connections evenly over the addresses.
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
                        // Cannot fail, because this task holds the sender.
                        let _ = counter.subscribe().wait_for(|it| *it == count).await;
                    }
                    sleep(REOPEN_DELAY).await;
                }
            });
        }
        Self { tasks, opened }
    }

    /// Waits until every connection has been open once.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn all_opened(&mut self) {
        let count = self.tasks.len();
        // Cannot fail, because the tasks hold the sender.
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

/// Opens a connection. From one local address, only about 28,000 connections to the same address and port are possible,
/// because each needs its own ephemeral port. So on Linux, connections to 127.0.0.1 come from 100 local addresses.
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
