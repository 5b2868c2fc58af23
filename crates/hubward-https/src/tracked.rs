//! A connector for hyper's client that records when it has opened a connection, and keeps slow private keys away from
//! the threads of the runtime.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hubward_dial::{DialProgress, DialStep, on_blocking_thread};
use hyper::Uri;
use tower_service::Service;

/// A connector that records when the connection is open.
#[derive(Debug, Clone)]
pub(crate) struct Tracked<C> {
    pub(crate) inner: C,
    pub(crate) progress: DialProgress,
    /// Whether TLS waits for a private key outside the program. The connector then connects on a thread for blocking
    /// work.
    pub(crate) signs_outside: bool,
}

impl<C> Service<Uri> for Tracked<C>
where
    C: Service<Uri, Response: Send, Error: From<io::Error> + Send, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, progress, signs_outside) = (self.inner.call(uri), self.progress.clone(), self.signs_outside);
        Box::pin(async move {
            let connected = if signs_outside { on_blocking_thread(connecting).await?? } else { connecting.await? };
            progress.enter(DialStep::Done);
            Ok(connected)
        })
    }
}
