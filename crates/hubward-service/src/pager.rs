//! Queries whose results arrive page by page.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use hubward_proto::service::QuerySpecification;
use hubward_proto::service::http::{CONTINUATION, ITEM_TYPE, MAX_ITEM_COUNT};
use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::call::{Call, parse};
use crate::client::Client;
use crate::error::ServiceError;

/// The results of a query, page by page.
///
/// ```no_run
/// # async fn example(hub: hubward_service::HubService) -> Result<(), hubward_service::ServiceError> {
/// let devices = hub.query("SELECT deviceId FROM devices").limit(50).all().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "no request is sent before the caller awaits a page"]
pub struct Pager<T> {
    client: Arc<Client>,
    path: String,
    query: Option<String>,
    page_size: Option<usize>,
    /// The number of items still to return; `None` without a limit.
    remaining: Option<usize>,
    continuation: Option<String>,
    done: bool,
    item: PhantomData<fn() -> T>,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items of the page. A page may be empty even if more pages follow.
    pub items: Vec<T>,
    /// The type of the items, in the words of the service, such as `Twin` or `Raw`.
    pub item_type: Option<String>,
    /// The continuation token for the request of the next page. `None` on the last page.
    pub continuation: Option<String>,
}

impl<T> Pager<T> {
    pub(crate) fn new(client: &Arc<Client>, path: impl Into<String>, query: Option<String>) -> Self {
        Self {
            client: Arc::clone(client),
            path: path.into(),
            query,
            page_size: None,
            remaining: None,
            continuation: None,
            done: false,
            item: PhantomData,
        }
    }

    /// Sets the maximum number of items per page.
    ///
    /// If neither this number nor a [`limit`](Self::limit) is set, the service chooses the number.
    pub const fn page_size(mut self, max: usize) -> Self {
        self.page_size = Some(max);
        self
    }

    /// Sets the maximum number of items in total.
    pub const fn limit(mut self, max: usize) -> Self {
        self.remaining = Some(max);
        self
    }

    /// Continues a query of an earlier pager after one of its pages. `continuation` is the [`Page::continuation`] of
    /// that page.
    pub fn from_continuation(mut self, continuation: impl Into<String>) -> Self {
        self.continuation = Some(continuation.into());
        self
    }

    /// Returns the service's JSON instead of the model.
    pub fn raw(self) -> Pager<Value> {
        self.with_item()
    }

    /// Returns the service's JSON byte for byte, including whitespace.
    pub fn verbatim(self) -> Pager<Box<RawValue>> {
        self.with_item()
    }

    fn with_item<U>(self) -> Pager<U> {
        let Self { client, path, query, page_size, remaining, continuation, done, item: _ } = self;
        Pager { client, path, query, page_size, remaining, continuation, done, item: PhantomData }
    }

    /// The page size for the next request.
    fn request_size(&self) -> Option<usize> {
        match (self.page_size, self.remaining) {
            (Some(size), Some(remaining)) => Some(size.min(remaining)),
            (Some(size), None) => Some(size),
            // No service returns more than 1,000 items per page.
            (None, Some(remaining)) => Some(remaining.min(1000)),
            (None, None) => None,
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Pager<T> {
    /// Requests the next page. Returns `None` after the last page.
    ///
    /// # Errors
    /// The same errors as for a [`Call`]. To retry, call `next_page` again: it requests the same page.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing. The next call of `next_page` requests the same page again.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, ServiceError> {
        if self.done || self.remaining == Some(0) {
            return Ok(None);
        }
        let mut call = Call::<T>::new(&self.client, Method::POST, self.path.clone()).read_only();
        if let Some(query) = &self.query {
            call = call.json(&QuerySpecification { query: query.clone() });
        }
        if let Some(max) = self.request_size() {
            call = call.header(MAX_ITEM_COUNT, max.to_string());
        }
        if let Some(continuation) = &self.continuation {
            call = call.header(CONTINUATION, continuation.clone());
        }
        let (client, spec) = call.into_parts();
        let answer = client.call(&spec?).await?;
        let header = |name| answer.headers.get(name)?.to_str().ok().map(str::to_owned);
        let continuation = header(CONTINUATION).filter(|it| !it.is_empty());
        if continuation.is_some() && continuation == self.continuation {
            return Err(client.protocol("it returned the same continuation token again"));
        }
        let mut items: Vec<T> = parse(&client, &answer.body)?;
        if let Some(remaining) = &mut self.remaining {
            items.truncate(*remaining);
            *remaining -= items.len();
        }
        self.done = continuation.is_none();
        self.continuation.clone_from(&continuation);
        Ok(Some(Page { items, item_type: header(ITEM_TYPE), continuation }))
    }

    /// Collects the items of all pages, at most [`limit`](Self::limit). Without a limit, the result may need a lot of
    /// memory.
    ///
    /// # Errors
    /// The same errors as for a [`Call`]. If a page fails, the items of earlier pages are lost.
    pub async fn all(mut self) -> Result<Vec<T>, ServiceError> {
        let mut all = Vec::new();
        while let Some(page) = self.next_page().await? {
            all.extend(page.items);
        }
        Ok(all)
    }
}

impl<T> fmt::Debug for Pager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pager")
            .field("path", &self.path)
            .field("query", &self.query)
            .field("remaining", &self.remaining)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
