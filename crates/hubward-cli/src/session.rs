//! The steps that `provision` and `quickstart` share: register, connect, send telemetry, print events.

use std::sync::Arc;
use std::time::Duration;

use hubward::provisioning::{Progress, Provisioner};
use hubward::{Assignment, Message, Settings};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::failure::Failure;
use crate::input::with_id;
use crate::output::{Event, Outcome, Output};
use crate::spinner::Spinner;
use crate::tally::{FEED, Tally, wind_speed};

/// How long the client waits for acknowledgements when it closes.
pub(crate) const FLUSH: Duration = Duration::from_secs(5);

/// The telemetry to send after the registration.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    /// Number of messages; with 0 the device does not connect to its hub.
    pub(crate) messages: usize,
    /// The template of the messages. The device sends copies of it. Each copy has its own ID, and all copies share the
    /// body.
    ///
    /// If this is `None`, the device sends a sample wind speed.
    pub(crate) body: Option<Message>,
}

/// Provisions the device, sends the telemetry, and prints the events including `result`.
pub(crate) async fn run(settings: &Settings, telemetry: &Telemetry, output: &Output) -> Result<Outcome, Failure> {
    let outcome = provision_and_send(settings, telemetry, output).await?;
    output.tell(&Event::Result { outcome: &outcome }).await;
    Ok(outcome)
}

/// Like [`run`], but does not print the event `result`. The caller can print more events before `result`.
pub(crate) async fn provision_and_send(
    settings: &Settings,
    telemetry: &Telemetry,
    output: &Output,
) -> Result<Outcome, Failure> {
    let deadline = settings.options.deadline();
    let assignment = provision(settings, output).await?;
    let mut outcome = Outcome { messages: telemetry.messages, ..Outcome::default() };
    if telemetry.messages > 0 {
        outcome.acknowledged = send(settings, &assignment, telemetry, deadline, output).await?;
    }
    outcome.assignment = Some((&assignment).into());
    Ok(outcome)
}

/// Registers the device and prints the events of the registration.
pub(crate) async fn provision(settings: &Settings, output: &Output) -> Result<Assignment, Failure> {
    let provisioner = settings.provisioner()?;
    let endpoint = provisioner.endpoint();
    output
        .tell(&Event::Provisioning {
            registration_id: settings.registration_id.as_str(),
            endpoint: &endpoint,
            transport: settings.transport.as_str(),
        })
        .await;
    let spinner = Arc::new(Spinner::start(output, "registering"));
    let assignment = watched(provisioner, &spinner).run().await;
    spinner.stop();
    let assignment = assignment.map_err(|error| explained(hubward::ConnectError::from(error).into(), settings))?;
    output.tell(&Event::Assigned { assignment: &assignment }).await;
    Ok(assignment)
}

/// If an emulator on this machine has refused the key of the device, improves the hint of the failure.
pub(crate) fn explained(failure: Failure, settings: &Settings) -> Failure {
    #[cfg(feature = "emulator")]
    let failure = crate::local_emulator::with_env_command(failure, settings);
    #[cfg(not(feature = "emulator"))]
    let _ = settings;
    failure
}

fn watched(provisioner: Provisioner, spinner: &Arc<Spinner>) -> Provisioner {
    let spinner = Arc::clone(spinner);
    provisioner.on_progress(move |progress| match progress {
        Progress::Assigning { wait } => spinner.say(&format!("assigning, polling again in {}", seconds(*wait))),
        Progress::Retrying { error, wait } => {
            tracing::warn!("{}; trying again in {}", error.chain(), seconds(*wait));
            spinner.say(&format!("waiting {} before trying again", seconds(*wait)));
        }
        _ => {}
    })
}

/// Sends all messages. Like Microsoft's sample, does not wait for each acknowledgement before the next message. Returns
/// the number of acknowledged messages.
async fn send(
    settings: &Settings,
    assignment: &Assignment,
    telemetry: &Telemetry,
    deadline: Instant,
    output: &Output,
) -> Result<usize, Failure> {
    let spinner = Spinner::start(output, "connecting to the hub");
    let left = deadline.saturating_duration_since(Instant::now());
    let client = settings.hub_settings(assignment).options(|it| it.timeout(left)).connect().await?;
    spinner.stop();
    let transport = settings.effective_hub_transport();
    output.tell(&Event::Connected { hub: assignment.hub.as_str(), transport: transport.as_str() }).await;
    let mut tally = Tally::default();
    let messages = telemetry.feed();
    let in_time = timeout_at(deadline, tally.exchange(&client, messages, output)).await.is_ok();
    let flush = deadline.saturating_duration_since(Instant::now()).min(FLUSH);
    let closed = client.close(flush).await;
    tracing::debug!(?closed, "the hub client is closed");
    tracing::debug!(in_time, "all messages are answered, or the deadline has passed");
    tally.into_result(telemetry.messages, &client)
}

impl Telemetry {
    fn feed(&self) -> mpsc::Receiver<Message> {
        let (Self { messages, body }, (feed, fed)) = (self, mpsc::channel(FEED));
        let (messages, body) = (*messages, body.clone());
        tokio::spawn(async move {
            for number in 1..=messages {
                let message = body.clone().unwrap_or_else(|| wind_speed(number));
                // The receiver closes the channel after a failure. The remaining messages are then not sent.
                if feed.send(with_id(message)).await.is_err() {
                    return;
                }
            }
        });
        fed
    }
}

fn seconds(wait: Duration) -> String {
    format!("{:.1}s", wait.as_secs_f64())
}
