//! Questions whose answers come page by page.

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

/// The answer to a query, page by page.
///
/// ```no_run
/// # async fn example(hub: hubward_service::HubService) -> Result<(), hubward_service::ServiceError> {
/// let devices = hub.query("SELECT deviceId FROM devices").limit(50).all().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is sent before a page is asked for"]
pub struct Pager<T> {
    client: Arc<Client>,
    path: String,
    query: Option<String>,
    page_size: Option<usize>,
    /// How many more are wanted.
    left: Option<usize>,
    continuation: Option<String>,
    done: bool,
    gives: PhantomData<fn() -> T>,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it; may be nothing though there are more pages.
    pub items: Vec<T>,
    /// What the service calls its things, such as `Twin` or `Raw`.
    pub item_type: Option<String>,
    /// Where the next page begins; absent on the last one.
    pub continuation: Option<String>,
}

impl<T> Pager<T> {
    pub(crate) fn new(client: &Arc<Client>, path: impl Into<String>, query: Option<String>) -> Self {
        Self {
            client: Arc::clone(client),
            path: path.into(),
            query,
            page_size: None,
            left: None,
            continuation: None,
            done: false,
            gives: PhantomData,
        }
    }

    /// At most so many on a page; the service's own number if nothing is said.
    pub const fn page_size(mut self, most: usize) -> Self {
        self.page_size = Some(most);
        self
    }

    /// So many in all, then the end.
    pub const fn limit(mut self, most: usize) -> Self {
        self.left = Some(most);
        self
    }

    /// Goes on where an earlier query has ended, by the [`Page::continuation`] of its last page.
    pub fn from_continuation(mut self, continuation: impl Into<String>) -> Self {
        self.continuation = Some(continuation.into());
        self
    }

    /// Gives the service's own JSON in place of the model.
    pub fn raw(self) -> Pager<Value> {
        self.gives()
    }

    /// Gives the service's own JSON as it came, to the last space.
    pub fn verbatim(self) -> Pager<Box<RawValue>> {
        self.gives()
    }

    fn gives<U>(self) -> Pager<U> {
        let Self { client, path, query, page_size, left, continuation, done, gives: _ } = self;
        Pager { client, path, query, page_size, left, continuation, done, gives: PhantomData }
    }

    /// What the next request says of the size of its page.
    fn wanted(&self) -> Option<usize> {
        match (self.page_size, self.left) {
            (Some(size), Some(left)) => Some(size.min(left)),
            (Some(size), None) => Some(size),
            // More than the largest page of any service is not asked for.
            (None, Some(left)) => Some(left.min(1000)),
            (None, None) => None,
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Pager<T> {
    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// As any call. The same page may be asked for again then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the same page is asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, ServiceError> {
        if self.done || self.left == Some(0) {
            return Ok(None);
        }
        let mut call = Call::<T>::new(&self.client, Method::POST, self.path.clone()).asks();
        if let Some(query) = &self.query {
            call = call.json(&QuerySpecification { query: query.clone() });
        }
        if let Some(most) = self.wanted() {
            call = call.header(MAX_ITEM_COUNT, most.to_string());
        }
        if let Some(continuation) = &self.continuation {
            call = call.header(CONTINUATION, continuation.clone());
        }
        let (client, ask) = call.into_parts();
        let answer = client.ask(&ask?).await?;
        let header = |name| answer.headers.get(name)?.to_str().ok().map(str::to_owned);
        let continuation = header(CONTINUATION).filter(|it| !it.is_empty());
        if continuation.is_some() && continuation == self.continuation {
            return Err(client.protocol("the same page comes again and again"));
        }
        let mut items: Vec<T> = parse(&client, &answer.body)?;
        if let Some(left) = &mut self.left {
            items.truncate(*left);
            *left -= items.len();
        }
        self.done = continuation.is_none();
        self.continuation.clone_from(&continuation);
        Ok(Some(Page { items, item_type: header(ITEM_TYPE), continuation }))
    }

    /// All pages at once, as many as [`limit`](Self::limit) says. Without a limit this takes as much
    /// memory as there are things.
    ///
    /// # Errors
    /// As any call; what came before is lost.
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
            .field("left", &self.left)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
