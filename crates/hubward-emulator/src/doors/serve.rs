//! Accepts connections. Each connection has a task of its own. The number of connections and the time of the TLS
//! handshake are limited.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::accept::{accept, hold};
use super::{https, mqtt};
use crate::doors::admission::{Admission, ConnectionEntry};
use crate::doors::socket::Socket;
use crate::doors::tls::{Acceptor, HandshakeError};
use crate::services::cloud::Cloud;
use crate::services::faults;
use crate::services::presented::PresentedChain;
use crate::state::fault::{Fault, Point};
use crate::state::journal::{EventKind, EventSource, Note};

/// Time limit of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Number of pending connections to evict when no file descriptors are left.
const EVICTED_AT_ONCE: usize = 16;

/// The protocol of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Mqtt,
    Https,
}

/// Serves the listeners with TLS.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) tls: Acceptor,
    pub(crate) admission: Arc<Admission>,
}

impl Server {
    /// Accepts connections. Dropping the future ends all of them.
    pub(crate) async fn run(self, listener: TcpListener, protocol: Protocol) {
        let mut connections = JoinSet::new();
        loop {
            // Accepting may fail because no file descriptors are left. Evicting pending connections frees some.
            let tcp = accept(&listener, &mut connections, || self.admission.evict(EVICTED_AT_ONCE)).await;
            let connection = self.admission.admit().await;
            let (server, entry) = (self.clone(), Arc::clone(&connection.entry));
            connections.spawn(async move {
                tokio::select! {
                    // Boxed, because the future is large.
                    () = Box::pin(server.connection(tcp, protocol, entry)) => {}
                    () = connection.evicted() => tracing::debug!("a pending connection is evicted"),
                }
            });
        }
    }

    async fn connection(self, tcp: TcpStream, protocol: Protocol, entry: Arc<ConnectionEntry>) {
        let mut socket = Socket::new(tcp);
        let point = if protocol == Protocol::Mqtt { Point::MqttAccept } else { Point::HttpsAccept };
        match faults::take(&self.cloud, point) {
            Some(Fault::Cut) => return,
            Some(Fault::Never) => return hold(socket).await,
            Some(Fault::Delay(time)) => sleep(time).await,
            Some(Fault::Drip(every)) => socket.drip(every),
            Some(Fault::CutAfter(bytes)) => socket.cut_after(bytes),
            _ => {}
        }
        let stream = match timeout(HANDSHAKE, self.tls.accept(socket)).await {
            Ok(Ok(stream)) => stream,
            // For example, a program connects only to check whether the port is open. This is not a failure, so the
            // journal does not record it.
            Ok(Err(error @ HandshakeError::NotStarted)) => return tracing::debug!(%error, "a TLS handshake failed"),
            Ok(Err(error)) => {
                // Record the error in the journal (the event log), where the user looks for the reason. In most cases,
                // the client does not trust the emulator's CA, or asks for a name that the emulator does not have.
                let note = Note::new(EventKind::HandshakeFailed, EventSource::Emulator);
                self.cloud.journal.note(note.message(error.to_string()));
                return tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => return tracing::debug!("a TLS handshake took too long"),
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificates = PresentedChain::new(certificates.iter().map(|it| it.as_ref()));
        match protocol {
            // Box the futures: one of them is much larger than the other, and without a box, both would take the space
            // of the larger one.
            Protocol::Mqtt => Box::pin(mqtt::serve(&self.cloud, stream, certificates, &entry)).await,
            Protocol::Https => Box::pin(https::serve(self.cloud, stream, certificates, entry)).await,
        }
    }
}
