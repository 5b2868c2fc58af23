//! The error that the program must print at the end of its output.

use std::fmt::Write as _;

use hubward::TransportKind;
use serde_json::{Value, json};

/// The command succeeds.
pub const SUCCESS: Expected = Expected {
    exit_code: 0,
    stage: None,
    endpoint: Endpoint::None,
    fault: "",
    hint: "",
    service_code: None,
    tracking_id: Some(false),
    message: "",
};

/// The expected content of the last line of the output.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The exit code of the program.
    pub exit_code: i32,
    /// `None`: the command succeeds.
    pub stage: Option<&'static str>,
    /// The endpoint that the error names.
    pub endpoint: Endpoint,
    /// The party that has to act.
    pub fault: &'static str,
    /// Text that the hint must contain.
    pub hint: &'static str,
    /// The service's six-digit code.
    pub service_code: Option<u32>,
    /// `Some(true)`: the error must contain a tracking ID. `Some(false)`: it must not. `None`: it may.
    pub tracking_id: Option<bool>,
    /// Text that the message or one of its causes must contain.
    pub message: &'static str,
}

/// The endpoint that the error must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// DPS.
    Dps,
    /// The hub.
    Hub,
    /// No endpoint, because the command fails before it connects.
    None,
    /// The endpoint with this name and the port of DPS.
    DpsNamed(&'static str),
    /// The endpoint with this name and the port of the hub.
    HubNamed(&'static str),
}

impl Expected {
    /// Lists the differences, one line each. Returns an empty text if there are none.
    #[must_use]
    pub fn compare(&self, kind: TransportKind, last: &Value) -> String {
        let mut problems = String::new();
        let mut must = |holds: bool, what: &dyn std::fmt::Display| {
            if !holds {
                let _ = writeln!(problems, "    expected {what}");
            }
        };
        must(last["exitCode"] == self.exit_code, &format!("exit code {}", self.exit_code));
        let Some(stage) = self.stage else {
            must(last["type"] == "result", &"a result");
            return problems;
        };
        must(last["type"] == "error", &"an error");
        must(last["stage"] == stage, &format!("stage {stage}"));
        let endpoint = self.endpoint.text(kind);
        must(last["endpoint"] == json!(endpoint), &format!("endpoint {endpoint:?}"));
        must(last["fault"] == self.fault, &format!("fault {}", self.fault));
        let hint = last["hint"].as_str().unwrap_or_default();
        must(!hint.is_empty() && hint.contains(self.hint), &format!("a hint with `{}`", self.hint));
        must(last["serviceCode"] == json!(self.service_code), &format!("code {:?}", self.service_code));
        let has_tracking_id = last["trackingId"].as_str().is_some_and(|it| !it.is_empty());
        must(self.tracking_id.is_none_or(|it| it == has_tracking_id), &format!("tracking id: {:?}", self.tracking_id));
        let text = format!("{}{}", last["message"], last["causes"]);
        must(text.contains(self.message), &format!("a message with `{}`", self.message));
        problems
    }
}

impl Endpoint {
    fn text(self, kind: TransportKind) -> Option<String> {
        let dps = if kind == TransportKind::Mqtt { 8883 } else { 443 };
        let hub = if kind == TransportKind::MqttWs { 443 } else { 8883 };
        match self {
            Self::Dps => Some(format!("localhost:{dps}")),
            Self::Hub => Some(format!("localhost:{hub}")),
            Self::DpsNamed(name) => Some(format!("{name}:{dps}")),
            Self::HubNamed(name) => Some(format!("{name}:{hub}")),
            Self::None => None,
        }
    }
}
