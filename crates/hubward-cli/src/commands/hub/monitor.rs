//! `hubward hub monitor-events`: prints the telemetry that an emulator receives from devices.

use std::time::Duration;

use clap::{Args, ValueEnum};
use hubward_service::model::http::segment;
use hubward_service::{AdminPort, ServerEvent, ServiceError};
use serde_json::Value;
use tokio::time::sleep;

use super::az_command::AzCommand;
use crate::admin_feed::{AdminFeed, position};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::output::{Output, visible};
use crate::service_login::LoginArgs;
use crate::service_reach::absent;
use crate::stop::Stop;

/// Which properties to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Properties {
    /// Properties that the hub has added.
    #[value(name = "anno", alias = "annotations")]
    Annotations,
    /// System properties that the sender has set.
    Sys,
    /// Application properties.
    App,
    /// All properties.
    All,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hubward hub monitor-events --emulator                        # until Ctrl-C
  hubward hub monitor-events -d dev-1 --from 0 --count 10 --output json

Azure delivers telemetry over AMQP only; use `az iot hub monitor-events` there.")]
pub(super) struct MonitorArgs {
    /// Show only messages of this device.
    #[arg(long, short, value_name = "ID")]
    device_id: Option<String>,
    /// Show only messages of this module of the device.
    #[arg(long, short, value_name = "ID", requires = "device_id")]
    module_id: Option<String>,
    /// Where to begin: an offset, or `latest` for new messages only.
    ///
    /// Offset 0 shows all messages that the emulator has kept.
    #[arg(long, value_name = "OFFSET", default_value = "latest", value_parser = |it: &str| position(it, "an offset"))]
    from: String,
    /// Number of messages after which the command ends.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds without a message after which the command ends; 0 means never.
    #[arg(long, short, visible_alias = "to", value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
    /// Properties to show in text; JSON always contains all of them.
    #[arg(long, short, visible_alias = "props", value_name = "WHICH", num_args = 0..,
          value_delimiter = ',', ignore_case = true)]
    properties: Vec<Properties>,
}

pub(super) async fn run(args: &MonitorArgs, login: &LoginArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let (admin, host) = stop.or_interrupt(find(args, login)).await?;
    let mut feed =
        AdminFeed { admin, path: format!("/api/telemetry/{}", segment(&host)), query: args.query(), last: None };
    let mut stream = stop.or_interrupt(async { feed.open().await.map_err(|error| absent(error.into())) }).await?;
    let mut seen = 0;
    while args.count.is_none_or(|it| seen < it) {
        let event = tokio::select! {
            biased;
            // Ctrl-C is the normal end of this command.
            () = stop.heard() => break,
            event = stream.next() => event,
            () = idle(args.timeout) => break,
        };
        match event {
            Ok(Some(event)) => {
                let is_message = tell(args, &event, output).await;
                seen += u64::from(is_message);
                feed.last = event.id.or(feed.last);
            }
            // The emulator has closed the stream, because it has ended or restarted. Open the stream again. If the
            // emulator has ended, this fails, and the command ends.
            Ok(None) | Err(ServiceError::Closed { .. }) => {
                stream = stop.or_interrupt(async { feed.open().await.map_err(|error| absent(error.into())) }).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::Ok)
}

/// Finds the admin port of the emulator. Returns this port and the name of the hub.
async fn find(args: &MonitorArgs, login: &LoginArgs) -> Result<(AdminPort, String), Failure> {
    let reached = login.reach_hub().await?;
    let admin = reached.admin(login).await?.ok_or_else(|| args.az_command(&reached.host).instead_of(&reached.host))?;
    Ok((admin, reached.host))
}

async fn idle(seconds: u64) {
    match seconds {
        0 => std::future::pending().await,
        seconds => sleep(Duration::from_secs(seconds)).await,
    }
}

/// Prints an event. Returns `true` if the event is a message.
async fn tell(args: &MonitorArgs, event: &ServerEvent, output: &Output) -> bool {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    match event.event.as_deref() {
        None | Some("message") if output.is_text() => output.line(&line(&data, &args.properties)).await,
        None | Some("message") => output.exact(event.data.clone()).await,
        Some("skipped") => {
            tracing::warn!("the emulator dropped {} messages before they could be shown", data["skipped"]);
            return false;
        }
        Some(other) => {
            tracing::warn!("the emulator sent the event `{other}`: its telemetry starts again");
            return false;
        }
    }
    true
}

/// The text of a message for people.
fn line(message: &Value, properties: &[Properties]) -> String {
    let text = |name: &str| message[name].as_str();
    let mut from = visible(text("deviceId").unwrap_or("-"));
    if let Some(module) = text("moduleId") {
        from.push_str(&format!("/{}", visible(module)));
    }
    let body = match (text("body"), text("bodyBase64")) {
        (Some(body), _) => visible(body),
        (None, Some(base64)) => format!("base64 {base64}"),
        (None, None) => String::new(),
    };
    let mut line = format!("{from}: {body}");
    if let Some(time) = text("enqueuedTime") {
        line.insert_str(0, &format!("{} ", visible(&to_milliseconds(time))));
    }
    let wants = |which| properties.contains(&which) || properties.contains(&Properties::All);
    let mut add = |of: &str, wanted: &dyn Fn(&str) -> bool| {
        for (name, value) in message[of].as_object().into_iter().flatten().filter(|(name, _)| wanted(name)) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line.push_str(&format!("\n  {}={}", visible(name), visible(&value)));
        }
    };
    if wants(Properties::Sys) {
        add("systemProperties", &|name| name.starts_with("$."));
    }
    if wants(Properties::Annotations) {
        add("systemProperties", &|name| !name.starts_with("$."));
    }
    if wants(Properties::App) {
        add("properties", &|_| true);
    }
    line
}

/// Shortens the fraction of a second to three digits. The services send seven.
fn to_milliseconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, fraction)) if fraction.is_ascii() => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            format!("{seconds}.{}{}", &fraction[..digits.min(3)], &fraction[digits..])
        }
        _ => time.to_owned(),
    }
}

impl MonitorArgs {
    fn query(&self) -> String {
        let mut query = format!("from={}", self.from);
        for (name, value) in [("device", &self.device_id), ("module", &self.module_id)] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        query
    }

    fn az_command(&self, host: &str) -> AzCommand {
        AzCommand::new("iot hub monitor-events", host)
            .option("--device-id", self.device_id.as_deref())
            .option("--module-id", self.module_id.as_deref())
            .option("--timeout", Some(&self.timeout.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_a_line_with_the_requested_properties() {
        let message = json!({"deviceId": "d1", "moduleId": "m", "body": "21.5\n\u{1b}[2J",
            "systemProperties": {"$.mid": "1", "iothub-enqueuedtime": "t"}, "properties": {"k": "v", "flag": null}});
        assert_eq!(line(&message, &[]), "d1/m: 21.5  [2J");
        assert_eq!(line(&message, &[Properties::App]), "d1/m: 21.5  [2J\n  flag=null\n  k=v");
        let all = line(&message, &[Properties::All]);
        assert_eq!(all, "d1/m: 21.5  [2J\n  $.mid=1\n  iothub-enqueuedtime=t\n  flag=null\n  k=v");
        assert_eq!(line(&json!({"deviceId": "d1", "bodyBase64": "/wA="}), &[]), "d1: base64 /wA=");
    }

    #[test]
    fn a_message_begins_with_the_time_of_its_arrival() {
        for (time, expected) in [
            ("2024-01-02T03:04:05.1230000Z", "2024-01-02T03:04:05.123Z d1: 1"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z d1: 1"),
            ("2024-01-02T03:04:05.5+00:00", "2024-01-02T03:04:05.5+00:00 d1: 1"),
            ("\u{1b}.é", " .é d1: 1"),
        ] {
            assert_eq!(line(&json!({"deviceId": "d1", "body": "1", "enqueuedTime": time}), &[]), expected);
        }
    }
}
