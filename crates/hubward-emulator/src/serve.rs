//! Accepting connections: a bounded number, each in its own task, TLS within a bounded time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::fault::{Fault, Point};
use crate::journal::{EventKind, EventSource, Note};
use crate::lobby::{Lobby, Place};
use crate::shared::Shared;
use crate::socket::Socket;
use crate::{http, mqtt};

/// What is spoken on a listener.
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
    pub(crate) lobby: Arc<Lobby>,
}

impl Server {
    /// Accepts until it is dropped; its connections end with it.
    pub(crate) async fn run(self, listener: TcpListener, protocol: Protocol) {
        let mut connections = JoinSet::new();
        loop {
            // Running out of file descriptors is over when somebody leaves.
            let tcp = accept(&listener, &mut connections, || self.lobby.evict(MANY)).await;
            let guest = self.lobby.enter().await;
            let (server, place) = (self.clone(), Arc::clone(&guest.place));
            connections.spawn(async move {
                tokio::select! {
                    // Boxed: it is large, and most of those who only open a connection never need it.
                    () = Box::pin(server.connection(tcp, protocol, place)) => {}
                    () = guest.evicted() => tracing::debug!("a connection that asked for nothing makes room"),
                }
            });
        }
    }

    async fn connection(self, tcp: TcpStream, protocol: Protocol, place: Arc<Place>) {
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
                // Often a client that was not told to trust the emulator's CA: nothing else tells why it fails.
                let note = Note::new(EventKind::HandshakeFailed, EventSource::Emulator);
                self.shared.journal.note(note.message(error.to_string()));
                return tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        match protocol {
            // Boxed: one of the two futures is much larger than the other.
            Protocol::Mqtt => Box::pin(mqtt::serve(&self.shared, stream, &place)).await,
            Protocol::Https => Box::pin(http::serve(self.shared, stream, place)).await,
        }
    }
}

/// The next connection. Meanwhile forgets those that have ended. `make_room` is called when there are
/// no file descriptors left.
pub(crate) async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>, make_room: impl Fn()) -> TcpStream {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    // Without this, small answers wait for the acknowledgement of the one before.
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY is not to be had");
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

/// Keeps a connection open and says nothing, until the peer leaves.
pub(crate) async fn hold(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let mut waste = [0; 1024];
    while matches!(stream.read(&mut waste).await, Ok(1..)) {}
}

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long those who were sent away may take to go.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// How many are sent away when there are no file descriptors left.
const MANY: usize = 16;
