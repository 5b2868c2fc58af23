//! A TCP proxy between a client and a hub. It can drop all traffic without closing the connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections to a hub. If the value is dropped, the proxy closes the connections.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The proxy numbers its connections from 1. It drops the traffic of all connections up to this number.
    dead: watch::Sender<usize>,
    _listening: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (connections, dead) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(0));
        let (count, deaths) = (connections.clone(), dead.clone());
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut forwarding = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let deaths = deaths.subscribe();
                forwarding.spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = forward(from_client, to_server, deaths.clone(), number) => {}
                        () = forward(from_server, to_client, deaths, number) => {}
                    }
                });
            }
        });
        Self { address, connections, dead, _listening: listening }
    }

    /// The number of connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// From now on, drops the traffic of the existing connections in both directions, but keeps them open.
    pub(super) fn drop_traffic(&self) {
        self.dead.send_replace(self.connections());
    }

    /// Drops the traffic of the existing connections and of the next `count` connections.
    pub(super) fn drop_traffic_of_next(&self, count: usize) {
        self.dead.send_replace(self.connections() + count);
    }
}

/// Forwards bytes until one end closes its connection. If the proxy drops the traffic of this connection, the future
/// never completes.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut deaths: watch::Receiver<usize>,
    number: usize,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            () = async { drop(deaths.wait_for(|it| *it >= number).await) } => std::future::pending().await,
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}
