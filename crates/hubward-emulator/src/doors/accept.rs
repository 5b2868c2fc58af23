//! Accepts TCP connections.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long to wait after `accept` has failed. Before the wait, `make_room` evicts connections. They close during the
/// wait, which frees file descriptors.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// Accepts the next connection. While it waits, removes finished tasks from `connections`.
///
/// If accepting fails, calls `make_room` and tries again later. The usual reason is that no file descriptors are left.
pub(super) async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>, make_room: impl Fn()) -> TcpStream {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    // Disables Nagle's algorithm. Otherwise a small packet would wait until the client has acknowledged
                    // the previous packet.
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY could not be set");
                    }
                    return tcp;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    make_room();
                    sleep(AFTER_ACCEPT_ERROR).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed");
                }
            }
        }
    }
}

/// Keeps a connection open and sends nothing until the peer closes it.
pub(super) async fn hold(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut discarded = [0; 1024];
    while matches!(stream.read(&mut discarded).await, Ok(1..)) {}
}
