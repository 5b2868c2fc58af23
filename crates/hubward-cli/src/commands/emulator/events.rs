//! `hubward emulator events`: prints the journal of a running emulator.

use clap::Args;
use hubward_emulator::{Event, EventKind};
use hubward_service::model::http::segment;
use hubward_service::{AdminPort, Method, RawValue, ServerEvent, ServiceError};
use serde::Deserialize;
use serde_json::Value;

use super::event_line::{event_line, name};
use crate::admin_feed::{AdminFeed, position};
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use crate::local_emulator::AdminArgs;
use crate::output::{Output, visible};
use crate::stop::Stop;

/// The path of the journal in the admin API.
const PATH: &str = "/api/events";

/// What `--from` names, in an error.
const WHAT: &str = "the number of an event";

#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Wait for new events, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Kind of event, such as refused; repeat or separate by commas [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kind: Vec<String>,
    /// Show only events of this registration or device; also of its modules.
    #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    id: Option<String>,
    /// Number of the first event, or `latest` for new events only.
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = |it: &str| position(it, WHAT))]
    from: String,
    #[command(flatten)]
    at: AdminArgs,
}

/// A page of the journal.
#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    /// Number of the first event of the next page.
    next: u64,
}

pub(super) async fn run(args: &EventsArgs, output: &Output) -> Result<ExitCode, Failure> {
    let admin = args.at.port()?;
    if args.follow { follow(args, admin, output).await } else { list(args, &admin, output).await }
}

/// Prints the events that the journal contains now.
async fn list(args: &EventsArgs, admin: &AdminPort, output: &Output) -> Result<ExitCode, Failure> {
    let status: Value =
        admin.call(Method::GET, "/api/status").await.map_err(|error| AdminArgs::absent(error.into()))?;
    // The emulator may record new events while this command reads. Stop at the current number of events, so that the
    // command ends.
    let end = status["events"].as_u64().unwrap_or_default();
    let mut from = args.from.clone();
    loop {
        let call = admin.call::<Page>(Method::GET, PATH).query(format!("{}&format=json", args.query(&from)));
        let page = call.await.map_err(|error| AdminArgs::absent(error.into()))?;
        for event in &page.events {
            tell(event.get(), output).await;
        }
        if page.events.is_empty() || page.next >= end {
            return Ok(ExitCode::Ok);
        }
        from = page.next.to_string();
    }
}

/// Prints the events that the journal contains now, then each new event.
async fn follow(args: &EventsArgs, admin: AdminPort, output: &Output) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen()?;
    let mut feed = AdminFeed { admin, path: PATH.to_owned(), query: args.query(&args.from), last: None };
    let open = async |feed: &AdminFeed| feed.open().await.map_err(|error| AdminArgs::absent(error.into()));
    let mut stream = stop.or_interrupt(open(&feed)).await?;
    loop {
        let event = tokio::select! {
            biased;
            // Ctrl-C is the normal end of this command.
            () = stop.heard() => return Ok(ExitCode::Ok),
            event = stream.next() => event,
        };
        match event {
            Ok(Some(event)) => {
                tell_streamed(&event, output).await;
                feed.last = event.id.or(feed.last);
            }
            // The emulator has closed the stream, because it has ended or restarted. Open the stream again. If the
            // emulator has ended, this fails, and the command ends.
            Ok(None) | Err(ServiceError::Closed { .. }) => {
                stream = stop.or_interrupt(open(&feed)).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn tell_streamed(event: &ServerEvent, output: &Output) {
    match event.event.as_deref() {
        None | Some("message") => tell(&event.data, output).await,
        Some("skipped") => {
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            tracing::warn!("the emulator dropped {} events before they could be shown", data["skipped"]);
        }
        Some(_) => tracing::warn!("the emulator has restarted: its journal starts again"),
    }
}

/// Prints an event. JSON is the object that the emulator sent.
async fn tell(data: &str, output: &Output) {
    if output.is_text() {
        output.line(&text(data)).await;
    } else {
        output.exact(data.to_owned()).await;
    }
}

fn text(data: &str) -> String {
    match serde_json::from_str::<Event>(data) {
        // Show the time without the fraction of a second, because people do not need it. Cut the fraction and the `Z`
        // after it, then add the `Z` again.
        Ok(event) => event_line(&format!("{}Z", event.time.split('.').next().unwrap_or_default()), &event),
        // Print the JSON. An emulator of a later version can send kinds of events that this version does not
        // know.
        Err(_) => visible(data),
    }
}

impl EventsArgs {
    fn query(&self, from: &str) -> String {
        let mut query = format!("from={from}");
        if !self.kind.is_empty() {
            query.push_str(&format!("&kind={}", self.kind.join(",")));
        }
        if let Some(id) = &self.id {
            query.push_str(&format!("&id={}", segment(id)));
        }
        query
    }
}

fn kind(text: &str) -> Result<String, String> {
    let names: Vec<String> = EventKind::ALL.iter().map(|it| name(*it)).collect();
    let found = names.iter().find(|it| it.eq_ignore_ascii_case(text.trim())).cloned();
    found.ok_or_else(|| format!("this is not a kind of event; the kinds are: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_a_line_without_control_characters() {
        let mut event = json!({"seq": 3, "time": "2024-01-02T03:04:05.0000000Z", "kind": "refused", "source": "hub",
            "hub": "localhost", "id": "dev\u{1b}[2J\n-1", "code": 5, "message": "bad signature"});
        assert_eq!(
            text(&event.to_string()),
            "2024-01-02T03:04:05Z hub refused dev [2J -1 at localhost: bad signature, CONNACK 5"
        );
        event["kind"] = "later".into();
        assert!(text(&event.to_string()).contains(r#""kind":"later""#));
    }

    #[test]
    fn kinds_are_checked_before_the_request() {
        assert_eq!(kind("HandshakeFailed").as_deref(), Ok("handshakeFailed"));
        let error = kind("refusal").expect_err("no such kind");
        assert!(error.contains("registered, registrationFailed, certificateIssued, refused"), "{error}");
        assert!(position("latest", WHAT).is_ok() && position("7", WHAT).is_ok() && position("-1", WHAT).is_err());
    }
}
