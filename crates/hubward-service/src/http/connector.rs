//! Opens TCP connections with hubward's dialer, as the `tower` service that hyper's client expects.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hubward_dial::{DialError, Endpoint, TcpDialer};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

#[derive(Debug, Clone)]
pub(crate) struct Connector(pub(super) TcpDialer);

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
        let default = if uri.scheme_str() == Some("http") { 80 } else { hubward_proto::limits::HTTPS_PORT };
        let to = Endpoint::new(host, uri.port_u16().unwrap_or(default));
        Box::pin(async move { dialer.connect(&to).await.map(TokioIo::new) })
    }
}
