//! The story both `provision` and `quickstart` tell: register, connect, send, say what happened.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hubward::{Assignment, HubClient, Message, Progress, Provisioner, SendError, Settings};
use tokio::time::{Instant, timeout_at};

use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Event, Outcome, Output};
use crate::spinner::Spinner;

/// What to send once the device has a hub.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    /// How many messages; none means: do not connect.
    pub(crate) messages: usize,
    /// What each is a copy of, but for its id; a wind speed unless given. Copies share the body.
    pub(crate) body: Option<Message>,
}

/// Tells the story, up to its `result`.
pub(crate) async fn run(settings: &Settings, telemetry: &Telemetry, output: &Output) -> Result<Outcome, Failure> {
    let outcome = play(settings, telemetry, output).await?;
    output.tell(&Event::Result { outcome: &outcome });
    Ok(outcome)
}

/// The same without the last line, for a caller who has more to tell.
pub(crate) async fn play(settings: &Settings, telemetry: &Telemetry, output: &Output) -> Result<Outcome, Failure> {
    let deadline = settings.deadline();
    let assignment = provision(settings, output).await?;
    let mut outcome = Outcome { messages: telemetry.messages, ..Outcome::default() };
    if telemetry.messages > 0 {
        outcome.acknowledged = send(settings, &assignment, telemetry, deadline, output).await?;
    }
    outcome.assignment = Some(assignment);
    Ok(outcome)
}

async fn provision(settings: &Settings, output: &Output) -> Result<Assignment, Failure> {
    let provisioner = hubward::provisioner(settings)?;
    let endpoint = provisioner.endpoint();
    output.tell(&Event::Provisioning {
        registration_id: settings.registration_id.as_str(),
        endpoint: &endpoint,
        transport: settings.transport.as_str(),
    });
    let spinner = Arc::new(Spinner::start(output.is_text(), "registering"));
    let assignment = watched(provisioner, &spinner).run().await;
    spinner.stop();
    let assignment = assignment.map_err(hubward::ConnectError::from)?;
    output.tell(&Event::Assigned { assignment: &assignment });
    Ok(assignment)
}

fn watched(provisioner: Provisioner, spinner: &Arc<Spinner>) -> Provisioner {
    let spinner = Arc::clone(spinner);
    provisioner.on_progress(move |progress| match progress {
        Progress::Assigning { wait } => spinner.say(&format!("assigning, asking again in {}", seconds(*wait))),
        Progress::Retrying { error, wait } => {
            tracing::warn!("{}; trying again in {}", error.chain(), seconds(*wait));
            spinner.say(&format!("waiting {} before trying again", seconds(*wait)));
        }
        _ => {}
    })
}

/// Sends all messages without waiting for each other, as the sample does; says how many the hub
/// acknowledged.
async fn send(
    settings: &Settings,
    assignment: &Assignment,
    telemetry: &Telemetry,
    deadline: Instant,
    output: &Output,
) -> Result<usize, Failure> {
    let spinner = Spinner::start(output.is_text(), "connecting to the hub");
    let client = hubward::connect_assigned(settings, assignment, deadline).await?;
    spinner.stop();
    let transport = settings.effective_hub_transport();
    output.tell(&Event::Connected { hub: assignment.hub.as_str(), transport: transport.as_str() });
    let mut tally = Tally::default();
    let in_time = timeout_at(deadline, exchange(&client, telemetry, &mut tally, output)).await.is_ok();
    let flush = deadline.saturating_duration_since(Instant::now()).min(FLUSH);
    let closed = client.close(flush).await;
    tracing::debug!(?closed, "the hub client is closed");
    tracing::debug!(in_time, "all messages are sent or given up");
    tally.judge(telemetry.messages).map_err(|mut failure| {
        failure.endpoint.get_or_insert_with(|| client.endpoint().to_owned());
        failure
    })
}

async fn exchange(client: &HubClient, telemetry: &Telemetry, tally: &mut Tally, output: &Output) {
    let mut unanswered = FuturesUnordered::new();
    let mut number = 1;
    let mut message = telemetry.message(number);
    loop {
        tokio::select! {
            biased;
            queued = client.enqueue(message.clone()), if number <= telemetry.messages && unanswered.len() < IN_HAND => match queued {
                Ok(receipt) => {
                    output.tell(&Event::Sending { number });
                    let sent = number;
                    unanswered.push(async move { (sent, receipt.await) });
                    number += 1;
                    message = telemetry.message(number);
                }
                Err(error) => {
                    tally.error.get_or_insert(error);
                    number = telemetry.messages + 1;
                }
            },
            Some((number, result)) = unanswered.next() => match result {
                Ok(()) => {
                    output.tell(&Event::Sent { number });
                    tally.acknowledged += 1;
                }
                Err(error) => {
                    tally.error.get_or_insert(error);
                }
            },
            else => return,
        }
    }
}

/// Receipts kept at a time: with many messages and a quick hub, answers are looked at too.
const IN_HAND: usize = 2048;

/// How the messages fared.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    error: Option<SendError>,
}

impl Tally {
    /// The number of acknowledged messages, if that is all of them.
    fn judge(self, messages: usize) -> Result<usize, Failure> {
        let Self { acknowledged, error } = self;
        if acknowledged == messages {
            return Ok(acknowledged);
        }
        let said = format!("{acknowledged} of {messages} messages acknowledged");
        let Some(error) = error else {
            let fault = hubward::Fault::Deadline.to_string();
            return Err(
                Failure::new(ExitCode::Unacknowledged, "hub-send", fault, said).hint("give it more time: --timeout")
            );
        };
        let refused = matches!(error, SendError::Refused { .. });
        let mut failure = Failure::from_send(&error);
        failure.messages.insert(0, said);
        if !refused {
            failure.exit_code = ExitCode::Unacknowledged;
        }
        Err(failure)
    }
}

impl Telemetry {
    fn message(&self, number: usize) -> Message {
        let message = self.body.clone().unwrap_or_else(|| Message::new(format!("test wind speed {number}")));
        message.message_id(unique_id())
    }
}

/// A random UUID (version 4) as the sample's message id.
fn unique_id() -> String {
    let bits = fastrand::u128(..) & !(0xf000_u128 << 64) & !(0b11_u128 << 62) | (0x4000_u128 << 64) | (0b10_u128 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// How long the good-bye may wait for acknowledgements.
const FLUSH: Duration = Duration::from_secs(5);

fn seconds(wait: Duration) -> String {
    format!("{:.1}s", wait.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_version_4_uuids() {
        for _ in 0..100 {
            let id = unique_id();
            assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }
}
