//! A connector for hyper's client that records when it has opened a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hubward_dial::{DialProgress, DialStep};
use hyper::Uri;
use tower_service::Service;

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
