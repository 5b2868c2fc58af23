//! A connector for hyper's client: opens the TCP connection, runs the TLS handshake, and records when the connection is
//! open.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hubward_dial::{DialProgress, DialStep, HyperConnector, TcpDialer, TlsConfig};
use hyper::Uri;
use hyper_rustls::{DefaultServerNameResolver, MaybeHttpsStream, ResolveServerName};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tower_service::Service;

type Tcp = <HyperConnector as Service<Uri>>::Response;
type BoxError = Box<dyn Error + Send + Sync>;

/// A connector for URIs with the scheme `https`.
///
/// If the private key of the client's certificate is outside the program, the TLS handshake runs on a thread for
/// blocking work. The TCP connection does not: the lookup of the host name needs such a thread itself.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    tcp: HyperConnector,
    progress: DialProgress,
    tls: TlsConfig,
}

impl Connector {
    pub(crate) fn new(tcp: TcpDialer, tls: TlsConfig) -> Self {
        Self { progress: tcp.progress().clone(), tcp: HyperConnector::new(tcp), tls }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Tcp>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let name = DefaultServerNameResolver::default().resolve(&uri);
        let (connecting, progress, tls) = (self.tcp.call(uri), self.progress.clone(), self.tls.clone());
        Box::pin(async move {
            let name = name?;
            let tcp = connecting.await?;
            let handshake = TlsConnector::from(tls.rustls()).connect(name, TokioIo::new(tcp));
            let stream = tls.handshake(handshake).await?;
            progress.enter(DialStep::Done);
            Ok(MaybeHttpsStream::from(stream))
        })
    }
}
