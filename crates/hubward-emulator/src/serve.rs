//! Accepts connections: a bounded number, each in its own task, with a time limit for the TLS handshake.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::admission::{Admission, ConnectionEntry};
use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::shared::Shared;
use crate::socket::Socket;
use crate::{http, mqtt};

/// The protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Mqtt,
    Https,
}

/// Serves the listeners with TLS.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tls: TlsAcceptor,
    pub(crate) admission: Arc<Admission>,
}

impl Server {
    /// Accepts connections. Dropping the future ends all of them.
    pub(crate) async fn run(self, listener: TcpListener, protocol: Protocol) {
        let mut connections = JoinSet::new();
        loop {
            // If the process runs out of file descriptors, evicting pending connections frees some.
            let tcp = accept(&listener, &mut connections, || self.admission.evict(EVICTED_AT_ONCE)).await;
            let connection = self.admission.admit().await;
            let (server, entry) = (self.clone(), Arc::clone(&connection.entry));
            connections.spawn(async move {
                tokio::select! {
                    // Boxed: the future is large, and idle connections never poll it far.
                    () = Box::pin(server.connection(tcp, protocol, entry)) => {}
                    () = connection.evicted() => tracing::debug!("a pending connection is evicted"),
                }
            });
        }
    }

    async fn connection(self, tcp: TcpStream, protocol: Protocol, entry: Arc<ConnectionEntry>) {
        let mut socket = Socket::new(tcp);
        let point = if protocol == Protocol::Mqtt { Point::MqttAccept } else { Point::HttpsAccept };
        match self.shared.take_fault(point) {
            Some(Fault::Cut) => return,
            Some(Fault::Never) => return hold(socket).await,
            Some(Fault::Delay(time)) => sleep(time).await,
            Some(Fault::Drip(every)) => socket.drip(every),
            Some(Fault::CutAfter(bytes)) => socket.cut_after(bytes),
            _ => {}
        }
        let stream = match timeout(HANDSHAKE, self.tls.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                // Often a client that does not trust the emulator's CA. This event is the only hint to that.
                let note = Note::new(EventKind::HandshakeFailed, EventSource::Emulator);
                self.shared.journal.note(note.message(error.to_string()));
                return tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        match protocol {
            // Boxed: one of the two futures is much larger than the other.
            Protocol::Mqtt => Box::pin(mqtt::serve(&self.shared, stream, &entry)).await,
            Protocol::Https => Box::pin(http::serve(self.shared, stream, entry)).await,
        }
    }
}

/// Accepts the next connection, and meanwhile removes finished tasks from `connections`. If accepting fails, calls
/// `make_room`, since the usual reason is that no file descriptors are left.
pub(crate) async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>, make_room: impl Fn()) -> TcpStream {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    // Otherwise a small packet waits until the client acknowledges the previous one.
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
pub(crate) async fn hold(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut discarded = [0; 1024];
    while matches!(stream.read(&mut discarded).await, Ok(1..)) {}
}

/// Time limit of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after an error of `accept`, so that evicted connections can close.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// Number of connections that are evicted when no file descriptors are left.
const EVICTED_AT_ONCE: usize = 16;
