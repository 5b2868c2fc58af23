//! Opens TCP connections with hubward's dialer, as the `tower` service that hyper's client expects.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hubward_dial::{DialError, DialProgress, DialStep, Endpoint, TcpDialer};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

#[derive(Debug, Clone)]
pub(crate) struct Connector(pub(crate) TcpDialer);

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.0.clone();
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let to = Endpoint::new(host, uri.port_u16().unwrap_or(hubward_proto::limits::HTTPS_PORT));
        Box::pin(async move {
            let stream = dialer.connect(&to).await?;
            // hyper-rustls starts the handshake next.
            dialer.progress().enter(DialStep::Tls);
            Ok(TokioIo::new(stream))
        })
    }
}

/// A connector that records when the connection is open.
#[derive(Debug, Clone)]
pub(crate) struct Tracked<C> {
    pub(crate) inner: C,
    pub(crate) progress: DialProgress,
}

impl<C> Service<Uri> for Tracked<C>
where
    C: Service<Uri, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, progress) = (self.inner.call(uri), self.progress.clone());
        Box::pin(async move {
            let connected = connecting.await?;
            progress.enter(DialStep::Done);
            Ok(connected)
        })
    }
}
