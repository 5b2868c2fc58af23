//! A message to a device on disk.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::state::model::{Ack, Post};

/// A message to a device, without its body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PostHead {
    topic: String,
    message_id: String,
    ack: Option<Ack>,
    input: Option<String>,
}

impl PostHead {
    pub(super) fn of(post: &Post) -> Self {
        let Post { topic, body: _, message_id, ack, input } = post;
        Self { topic: topic.clone(), message_id: message_id.clone(), ack: *ack, input: input.clone() }
    }

    pub(super) fn with(self, body: &[u8]) -> Post {
        let Self { topic, message_id, ack, input } = self;
        Post { topic, body: Bytes::copy_from_slice(body), message_id, ack, input }
    }
}
