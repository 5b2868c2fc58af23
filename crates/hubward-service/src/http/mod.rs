//! The HTTP client of this crate: connections with TLS and without TLS, and their errors.

mod failure;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hubward_dial::{HyperConnector, TcpDialer, TlsConfig};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub(crate) use self::failure::{of_body, of_request};

/// Maximum size of the status line and the headers of an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// An HTTP client that keeps one connection open between requests.
#[derive(Debug, Clone)]
pub(crate) enum Http {
    /// Without TLS: the admin port of an emulator.
    Plain(Client<HyperConnector, Full<Bytes>>),
    /// With TLS.
    Secure(Client<HttpsConnector<HyperConnector>, Full<Bytes>>),
}

impl Http {
    pub(crate) fn plain(tcp: TcpDialer) -> Self {
        Self::Plain(builder().build(HyperConnector::new(tcp)))
    }

    pub(crate) fn secure(tcp: TcpDialer, tls: &TlsConfig) -> Self {
        let resolver = Arc::new(DefaultServerNameResolver::default());
        Self::Secure(builder().build(HttpsConnector::new(HyperConnector::new(tcp), tls.rustls(), true, resolver)))
    }

    /// Sends a request once. If an idle connection turns out to be closed before the client has written any byte, the
    /// client opens a new connection.
    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Plain(client) => client.request(request).await,
            Self::Secure(client) => client.request(request).await,
        }
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_max_idle_per_host(1)
        .pool_timer(TokioTimer::new())
        // Do not call `http1_title_case_headers`: some header names contain property names of a message, and these
        // property names must stay in lower case.
        .http1_max_buf_size(HEAD_MAX);
    builder
}
