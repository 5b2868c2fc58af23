//! Sends messages and counts the acknowledged ones. Does not wait for an acknowledgement before the next message.

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hubward::{HubClient, Message, SendError};
use tokio::sync::mpsc;

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Output};

/// Capacity of the channel between the producer of messages and the client.
pub(crate) const FEED: usize = 16;

/// Maximum number of unresolved receipts.
///
/// If the loop can send a message, it does so before it handles an acknowledgement. With a fast hub, the client's queue
/// always has room. Without this limit, the loop would then handle no acknowledgement before it has sent the last
/// message. At the limit, the loop sends nothing until a receipt is resolved.
const IN_HAND: usize = 2048;

/// The default message: the text of Microsoft's sample.
pub(crate) fn wind_speed(number: usize) -> Message {
    Message::new(format!("test wind speed {number}"))
}

/// Counts the messages and their acknowledgements.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Number of messages received from the feed so far.
    pub(crate) offered: usize,
    acknowledged: usize,
    error: Option<SendError>,
}

impl Tally {
    /// Sends the messages of `feed`. If the client cannot queue a message, stops sending. Then waits for the
    /// acknowledgements of all messages that were sent.
    ///
    /// # Cancel safety
    /// Dropping the future keeps the counts.
    pub(crate) async fn exchange(&mut self, client: &HubClient, mut feed: mpsc::Receiver<Message>, output: &Output) {
        let mut unanswered = FuturesUnordered::new();
        let mut next: Option<Message> = None;
        let mut fed = true;
        loop {
            tokio::select! {
                biased;
                queued = enqueue(client, next.as_ref()), if next.is_some() && unanswered.len() < IN_HAND => {
                    next = None;
                    match queued {
                        Ok(receipt) => {
                            let number = self.offered;
                            output.tell(&Event::Sending { number }).await;
                            unanswered.push(async move { (number, receipt.await) });
                        }
                        Err(error) => {
                            self.error.get_or_insert(error);
                            feed.close();
                            fed = false;
                        }
                    }
                },
                message = feed.recv(), if next.is_none() && fed => {
                    fed = message.is_some();
                    self.offered += usize::from(fed);
                    next = message;
                },
                Some((number, result)) = unanswered.next() => match result {
                    Ok(()) => {
                        output.tell(&Event::Sent { number }).await;
                        self.acknowledged += 1;
                    }
                    Err(error) => {
                        self.error.get_or_insert(error);
                    }
                },
                else => return,
            }
        }
    }

    /// Returns the number of acknowledged messages. Returns a failure if this number is not `messages`.
    pub(crate) fn into_result(self, messages: usize, client: &HubClient) -> Result<usize, Failure> {
        let Self { acknowledged, error, .. } = self;
        if acknowledged == messages {
            return Ok(acknowledged);
        }
        let message = format!("{acknowledged} of {messages} messages acknowledged");
        let mut failure = match error {
            None => {
                let fault = hubward::Fault::Deadline.to_string();
                Failure::new(ExitCode::Unacknowledged, "hub-send", fault, message)
                    .hint("allow more time with --timeout")
            }
            Some(error) => {
                let refused = matches!(error, SendError::Refused { .. });
                let mut failure = Failure::from_send(&error);
                failure.messages.insert(0, message);
                if !refused {
                    failure.exit_code = ExitCode::Unacknowledged;
                }
                failure
            }
        };
        failure.endpoint.get_or_insert_with(|| client.endpoint().to_string());
        Err(failure)
    }
}

async fn enqueue(client: &HubClient, message: Option<&Message>) -> Result<hubward::Receipt, SendError> {
    match message {
        Some(message) => client.enqueue(message.clone()).await,
        None => std::future::pending().await,
    }
}
