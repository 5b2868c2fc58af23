//! Tells the user on stderr if the program connects to a host at another address than its own. Each line also names the
//! setting that causes this.
//!
//! Without these lines, a user could take the answer of an emulator for an answer of Azure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};

use hubward::transport::OVERRIDE_LOG_TARGET;
use hubward::{DialOverride, vars};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};

use crate::environment::variable;
use crate::failure::Failure;
use crate::output::{Writer, visible};

/// Maximum number of hosts to remember. The program prints a line for at most this number of hosts. This is enough,
/// because a command connects to one DPS and a few hubs.
const HOSTS_MAX: usize = 100;

/// The address that the program has dialed in place of each endpoint. The keys are the endpoints. At most [`HOSTS_MAX`]
/// entries.
static DIALED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Clears the current line of the terminal, because it may contain a spinner.
const CLEAR_LINE: &str = "\r\u{1b}[2K";

/// Writes one line for each host whose address a rule changes. The dialer logs an event for each change, and this layer
/// reads these events. The log level that the user has selected does not matter.
#[derive(Debug)]
pub(crate) struct OverrideNotes {
    stderr: Writer,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// The rules of the variable `HUBWARD_CONNECT_TO`. Any other rule comes from the flag `--connect-to`.
    from_variable: Vec<String>,
    /// The hosts that have a line.
    hosts: BTreeSet<String>,
}

/// The fields of an event.
#[derive(Debug, Default)]
struct Fields {
    endpoint: String,
    address: String,
    rule: String,
}

impl OverrideNotes {
    pub(crate) fn new(stderr: Writer) -> Self {
        // Ignore an error. If the variable is not valid, the command ends with an error of its own, and connects to no
        // host.
        let rules = variable(vars::CONNECT_TO).and_then(|it| DialOverride::parse_list(&it).ok()).unwrap_or_default();
        Self { stderr, notes: Mutex::new(Notes::new(&rules)) }
    }

    /// Selects the events that this layer reads.
    pub(crate) fn filter() -> Targets {
        Targets::new().with_target(OVERRIDE_LOG_TARGET, LevelFilter::INFO)
    }
}

impl<S: Subscriber> Layer<S> for OverrideNotes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        remember(&fields);
        let note = self.notes.lock().unwrap_or_else(PoisonError::into_inner).note(&fields);
        if let Some(note) = note {
            let clear = if io::stderr().is_terminal() { CLEAR_LINE } else { "" };
            self.stderr.offer(format!("{clear}{note}\n").as_bytes());
        }
    }
}

fn remember(Fields { endpoint, address, .. }: &Fields) {
    let mut dialed = DIALED.lock().unwrap_or_else(PoisonError::into_inner);
    if dialed.len() < HOSTS_MAX || dialed.contains_key(endpoint) {
        dialed.insert(endpoint.clone(), address.clone());
    }
}

/// If a rule has changed the address of the failure's endpoint, adds the address that the program has dialed.
pub(crate) fn with_address(mut failure: Failure) -> Failure {
    let dialed = DIALED.lock().unwrap_or_else(PoisonError::into_inner);
    failure.dialed = failure.endpoint.as_ref().and_then(|it| dialed.get(it)).cloned();
    failure
}

impl Notes {
    fn new(from_variable: &[DialOverride]) -> Self {
        Self { from_variable: from_variable.iter().map(ToString::to_string).collect(), hosts: BTreeSet::new() }
    }

    /// Returns the line for an event. Returns `None` if the host already has a line, or if [`HOSTS_MAX`] hosts have
    /// one.
    fn note(&mut self, Fields { endpoint, address, rule }: &Fields) -> Option<String> {
        let host = endpoint.rsplit_once(':').map_or(endpoint.as_str(), |(host, _)| host).to_ascii_lowercase();
        if self.hosts.len() >= HOSTS_MAX || !self.hosts.insert(host) {
            return None;
        }
        let setting = if self.from_variable.contains(rule) { vars::CONNECT_TO } else { "--connect-to" };
        Some(visible(&format!("connecting to {endpoint} via {address}, {setting}")))
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "endpoint" => &mut self.endpoint,
            "address" => &mut self.address,
            "rule" => &mut self.rule,
            _ => return,
        };
        *text = format!("{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(endpoint: &str, rule: &str) -> Fields {
        Fields { endpoint: endpoint.to_owned(), address: "127.0.0.1:1".to_owned(), rule: rule.to_owned() }
    }

    #[test]
    fn each_host_is_mentioned_once_with_its_setting() {
        let mut notes = Notes::new(&DialOverride::parse_list(":8883:127.0.0.1:1").expect("a rule"));
        for (endpoint, rule, expected) in [
            ("a.example:8883", ":8883:127.0.0.1:1", Some("a.example:8883 via 127.0.0.1:1, HUBWARD_CONNECT_TO")),
            ("A.example:443", "::127.0.0.1:1", None),
            ("[::1]:443", "::127.0.0.1:1", Some("[::1]:443 via 127.0.0.1:1, --connect-to")),
            ("b\u{1b}[2J:443", "::127.0.0.1:1", Some("b [2J:443 via 127.0.0.1:1, --connect-to")),
        ] {
            let expected = expected.map(|it| format!("connecting to {it}"));
            assert_eq!(notes.note(&fields(endpoint, rule)), expected, "{endpoint}");
        }
    }

    #[test]
    fn a_failure_names_the_address_that_was_dialed() {
        remember(&fields("redirected.example:443", "::127.0.0.1:1"));
        for (endpoint, dialed) in [("redirected.example:443", Some("127.0.0.1:1")), ("other.example:443", None)] {
            let mut failure = Failure::local("x");
            failure.endpoint = Some(endpoint.to_owned());
            assert_eq!(with_address(failure).dialed.as_deref(), dialed);
        }
    }

    #[test]
    fn the_number_of_hosts_is_limited() {
        let mut notes = Notes::default();
        let told = (0..2 * HOSTS_MAX).filter(|it| notes.note(&fields(&format!("h{it}:1"), "")).is_some()).count();
        assert_eq!((told, notes.hosts.len()), (HOSTS_MAX, HOSTS_MAX));
    }
}
