//! Opens TCP connections for hyper's client. Implements the `tower` service that hyper's client expects.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{DialError, DialStep, Endpoint, TcpDialer};

/// The port to use if a URI contains no port. Source: `[doc]` RFC 9110, section 4.2.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// A connector for hyper's client that opens TCP connections with a [`TcpDialer`].
///
/// For TLS, pass the connector and the configuration of [`TlsSettings`](crate::TlsSettings) to hyper-rustls'
/// `HttpsConnector`.
///
/// The connector opens only the TCP connection. If the scheme of the URI is `https`, the TLS handshake is the next
/// step, so the connector then sets the dialer's progress to [`DialStep::Tls`].
///
/// # Cancel safety
/// Dropping the future of a call closes the connection that the call was opening.
#[derive(Debug, Clone)]
pub struct HyperConnector(TcpDialer);

impl HyperConnector {
    /// Creates a connector that uses this dialer.
    pub const fn new(tcp: TcpDialer) -> Self {
        Self(tcp)
    }
}

impl Service<Uri> for HyperConnector {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move {
            let stream = dialer.connect(&endpoint(&uri)).await?;
            if is_https(&uri) {
                dialer.progress().enter(DialStep::Tls);
            }
            Ok(TokioIo::new(stream))
        })
    }
}

/// Returns the host and port of a URI. Removes the brackets of an IPv6 address.
fn endpoint(uri: &Uri) -> Endpoint {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let default = if is_https(uri) { HTTPS_PORT } else { HTTP_PORT };
    Endpoint::new(host, uri.port_u16().unwrap_or(default))
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() != Some(&Scheme::HTTP)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_endpoint_is_the_authority_of_the_uri() {
        for (uri, host, port) in [
            ("https://a.example/path", "a.example", 443),
            ("http://a.example", "a.example", 80),
            ("https://a.example:8443", "a.example", 8443),
            ("http://127.0.0.1:8480/", "127.0.0.1", 8480),
            ("https://[::1]:8443/", "::1", 8443),
            ("http://[::1]/", "::1", 80),
        ] {
            assert_eq!(endpoint(&Uri::from_static(uri)), Endpoint::new(host, port), "{uri}");
        }
    }

    #[tokio::test]
    async fn only_https_goes_on_with_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        for (scheme, expected) in [("http", DialStep::Connect), ("https", DialStep::Tls)] {
            let tcp = TcpDialer::new();
            let progress = tcp.progress().clone();
            let uri = format!("{scheme}://{address}/").parse().expect("a URI");
            HyperConnector::new(tcp).call(uri).await.expect("a connection");
            assert_eq!(progress.step(), expected, "{scheme}");
        }
    }
}
