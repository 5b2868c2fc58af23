//! `hubward hub c2d-message send`: sends a message over the admin port of an emulator, or over HTTP to a hub in Azure.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use hubward_service::model::http::segment;
use hubward_service::model::{CloudMessage, DeliveryAck};
use hubward_service::{HubService, Method, RawValue};
use serde_json::{Map, Value, json};

use super::az_command::AzCommand;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::input;
use crate::output::{Answer, Column, Output};
use crate::service_login::LoginArgs;
use crate::service_reach::{Reached, absent};

const COLUMNS: &[Column] = &[("Message", "/messageId")];

#[derive(Debug, Subcommand)]
pub(super) enum C2dMessageCommand {
    /// Send a message to a device.
    #[command(after_help = "Examples:
  hubward hub c2d-message send -d dev-1 --data reboot --emulator
  hubward hub c2d-message send -d dev-1 --data-file-path order.json --ct application/json -p 'kind=order;urgent=1'

To a hub in Azure, this command sends the message over HTTP, as Azure IoT Explorer does (preview: no specification of
the service has this request). The names of properties are sent as HTTP headers, in lower case.
`az iot device c2d-message send` uses AMQP.")]
    Send(Box<SendArgs>),
}

/// Feedback for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    /// No feedback.
    None,
    /// Feedback if the device completes the message.
    Positive,
    /// Feedback if it does not.
    Negative,
    /// Feedback in both cases.
    Full,
}

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Device ID.
    #[arg(long, short, value_name = "ID")]
    device_id: String,
    /// Module ID of a module of the device; needs --input-name.
    #[arg(long, short, value_name = "ID", requires = "input_name")]
    module_id: Option<String>,
    /// Name of the module's input.
    #[arg(long, value_name = "NAME", requires = "module_id")]
    input_name: Option<String>,
    /// Body of the message, as text.
    #[arg(long, visible_alias = "da", value_name = "TEXT", conflicts_with = "data_file_path")]
    data: Option<String>,
    /// File with the body; `-` is standard input.
    #[arg(long, visible_alias = "dfp", value_name = "FILE")]
    data_file_path: Option<PathBuf>,
    /// Application properties, as `name=value;name=value`. May be repeated.
    #[arg(long, visible_alias = "props", short, value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// Feedback for the sender.
    #[arg(long, value_name = "WHAT", ignore_case = true)]
    ack: Option<Ack>,
    /// Message ID [default: a random UUID]
    #[arg(long, visible_alias = "mid", value_name = "ID")]
    message_id: Option<String>,
    /// Correlation ID property of the message.
    #[arg(long, visible_alias = "cid", value_name = "ID")]
    correlation_id: Option<String>,
    /// User ID property of the message.
    #[arg(long, visible_alias = "uid", value_name = "ID")]
    user_id: Option<String>,
    /// Content type property, such as application/json.
    #[arg(long, visible_alias = "ct", value_name = "TYPE")]
    content_type: Option<String>,
    /// Content encoding property, such as utf-8.
    #[arg(long, visible_alias = "ce", value_name = "ENCODING")]
    content_encoding: Option<String>,
    /// Expiry time: milliseconds since 1970 (as in az) or ISO 8601.
    #[arg(long, visible_alias = "expiry", value_name = "WHEN", conflicts_with = "ttl")]
    expiry_time_utc: Option<String>,
    /// Time to live of the message.
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    ttl: Option<Duration>,
}

pub(super) async fn run(args: &SendArgs, login: &LoginArgs, output: &Output) -> Result<ExitCode, Failure> {
    let message_id = args.message_id.clone().unwrap_or_else(input::unique_id);
    // Read the body first: both ways to send the message need it, and standard input can be read only once.
    let bytes = args.bytes()?;
    let reached = login.reach_hub().await?;
    let Some(admin) = reached.admin(login).await? else {
        args.send_over_http(&message_id, bytes, &reached).await?;
        return args.tell(&json!({ "messageId": message_id }).to_string(), output).await;
    };
    let body = args.body(&message_id, &bytes)?;
    let mut path = format!("/messages/{}/{}", segment(&reached.host), segment(&args.device_id));
    if let Some(module) = &args.module_id {
        path.push_str(&format!("/modules/{}", segment(module)));
    }
    let sent: Box<RawValue> =
        admin.call::<Value>(Method::POST, path).json(&body).verbatim().await.map_err(|error| absent(error.into()))?;
    args.tell(sent.get(), output).await
}

impl SendArgs {
    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        match (&self.data, &self.data_file_path) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(file)) => input::body(file),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Prints the id of the sent message.
    async fn tell(&self, sent: &str, output: &Output) -> Result<ExitCode, Failure> {
        let id: Value = serde_json::from_str(sent).unwrap_or_default();
        let text = format!("message {} waits for {}", id["messageId"].as_str().unwrap_or("-"), self.device_id);
        output.answer(&Answer::of(sent, COLUMNS, true)?.text(text)).await
    }

    /// Sends the message to a hub in Azure.
    async fn send_over_http(
        &self,
        message_id: &str,
        bytes: Vec<u8>,
        reached: &Reached<HubService>,
    ) -> Result<(), Failure> {
        let host = &reached.host;
        if self.module_id.is_some() {
            let message = format!("{host} accepts messages for inputs of modules only from other modules");
            return Err(Failure::unsupported(message).hint("with the emulator: --emulator"));
        }
        tracing::warn!(
            "preview: this sends the message over HTTP, with a request that no specification of the service has"
        );
        let message = self.message(message_id, bytes)?;
        reached.service.send_message(&self.device_id, &message).await.map_err(|error| {
            // The status 404 has two possible reasons: the hub does not support this request, or the device does not
            // exist. If the device does not exist, the answer contains an error code. So show the `az` command only if
            // there is no code.
            let unknown = error.refused().is_some_and(|it| matches!(it.status, 404 | 405 | 501) && it.code.is_none());
            let failure = Failure::from(error);
            if unknown { failure.hint(self.az_command(host)) } else { failure }
        })
    }

    /// Builds the message for the request over HTTP.
    fn message(&self, message_id: &str, bytes: Vec<u8>) -> Result<CloudMessage, Failure> {
        let mut message = CloudMessage::new(bytes).message_id(message_id);
        for (name, value) in properties(&self.properties)? {
            message = message.property(name, value.as_str().unwrap_or_default());
        }
        message.correlation_id.clone_from(&self.correlation_id);
        message.user_id.clone_from(&self.user_id);
        message.content_type.clone_from(&self.content_type);
        message.content_encoding.clone_from(&self.content_encoding);
        message.ack = self.ack.map(Ack::of_message);
        message.expiry_time_utc = match (&self.expiry_time_utc, self.ttl) {
            (Some(when), _) => Some(moment(when)),
            (None, Some(ttl)) => Some(from_now(ttl)),
            (None, None) => None,
        };
        Ok(message)
    }

    /// Builds the JSON body for the request to the admin port.
    fn body(&self, message_id: &str, bytes: &[u8]) -> Result<Value, Failure> {
        let mut message = Map::new();
        message.insert("messageId".into(), json!(message_id));
        message.insert("bodyBase64".into(), json!(STANDARD.encode(bytes)));
        let texts = [
            ("correlationId", &self.correlation_id),
            ("userId", &self.user_id),
            ("contentType", &self.content_type),
            ("contentEncoding", &self.content_encoding),
            ("inputName", &self.input_name),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                message.insert(name.into(), json!(text));
            }
        }
        if !self.properties.is_empty() {
            message.insert("properties".into(), properties(&self.properties)?.into());
        }
        if let Some(ack) = self.ack {
            message.insert("ack".into(), json!(ack.word()));
        }
        if let Some(when) = &self.expiry_time_utc {
            message.insert("expiryTimeUtc".into(), json!(moment(when)));
        }
        if let Some(ttl) = self.ttl {
            message.insert("timeToLiveInSeconds".into(), json!(ttl.as_secs()));
        }
        Ok(message.into())
    }

    /// Builds the equivalent `az` command. It contains only options that `az` supports.
    fn az_command(&self, host: &str) -> AzCommand {
        let file = self.data_file_path.as_ref().map(|it| it.display().to_string());
        let properties = (!self.properties.is_empty()).then(|| self.properties.join(";"));
        AzCommand::new("iot device c2d-message send", host)
            .option("--device-id", Some(&self.device_id))
            .option("--data", self.data.as_deref())
            .option("--data-file-path", file.as_deref())
            .option("--props", properties.as_deref())
            .option("--ack", self.ack.map(Ack::word))
            .option("--message-id", self.message_id.as_deref())
            .option("--correlation-id", self.correlation_id.as_deref())
            .option("--user-id", self.user_id.as_deref())
            .option("--content-type", self.content_type.as_deref())
            .option("--content-encoding", self.content_encoding.as_deref())
            .option("--expiry-time-utc", self.expiry_time_utc.as_deref())
    }
}

impl Ack {
    const fn of_message(self) -> DeliveryAck {
        match self {
            Self::None => DeliveryAck::None,
            Self::Positive => DeliveryAck::Positive,
            Self::Negative => DeliveryAck::Negative,
            Self::Full => DeliveryAck::Full,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }
}

/// Parses `name=value;name=value`, as in `az`.
fn properties(texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let pairs = texts.iter().flat_map(|it| it.split(';')).map(str::trim).filter(|it| !it.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), json!(value))),
            _ => Err(Failure::usage(format!("--properties {pair}: write NAME=VALUE, separated by `;`"))),
        })
        .collect()
}

/// Converts milliseconds since 1970 to ISO 8601. Returns any other text unchanged.
fn moment(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(milliseconds) => iso(milliseconds),
        Err(_) => text.to_owned(),
    }
}

/// Returns the current time plus the duration, as ISO 8601.
fn from_now(time: Duration) -> String {
    let now = crate::commands::sas::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    iso(u64::try_from(now.saturating_add(time).as_millis()).unwrap_or(u64::MAX))
}

/// Formats a time as ISO 8601. `milliseconds` is the time since the beginning of 1970.
///
/// The calculation uses eras of 400 years, after which the calendar repeats. Its years begin in March, so that a leap
/// day is the last day of a year.
fn iso(milliseconds: u64) -> String {
    let (days, rest) = (milliseconds / 86_400_000 + 719_468, milliseconds % 86_400_000);
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{:03}Z", rest / 1000 % 60, rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_become_a_date() {
        for (text, expected) in [
            ("0", "1970-01-01T00:00:00.000Z"),
            ("951782400000", "2000-02-29T00:00:00.000Z"),
            ("1704164645123", "2024-01-02T03:04:05.123Z"),
            ("4102444799999", "2099-12-31T23:59:59.999Z"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        ] {
            assert_eq!(moment(text), expected);
        }
    }

    #[test]
    fn properties_are_pairs_of_name_and_value() {
        let read = properties(&["a=1;b=x=y;".into(), " c = ".into()]).expect("pairs");
        assert_eq!(Value::from(read), json!({"a": "1", "b": "x=y", "c": ""}));
        assert!(properties(&["a".into()]).is_err() && properties(&["=1".into()]).is_err());
    }
}
