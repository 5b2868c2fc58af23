//! Events as text, with the wording of Microsoft's sample.

use hubward::provisioning::RegistrationState;

use crate::failure::Failure;
use crate::output::visible::visible;
use crate::output::{Event, device_event};

/// Returns the lines of an event. Returns `None` if the event has no text.
pub(super) fn render(event: &Event<'_>) -> Option<String> {
    Some(match event {
        #[cfg(feature = "emulator")]
        Event::Step { number, text } => format!("{number}. {text}"),
        #[cfg(feature = "emulator")]
        Event::Device { variables } => {
            let lines: Vec<String> = variables.iter().map(|(name, value)| format!("  {name}={value}")).collect();
            format!("The device's settings are\n{}", lines.join("\n"))
        }
        #[cfg(feature = "emulator")]
        Event::Operator { variables } => {
            let lines: Vec<String> = variables.iter().map(|(name, value)| format!("  {name}={value}")).collect();
            format!("The logins for operators are\n{}", lines.join("\n"))
        }
        Event::Provisioning { registration_id, endpoint, transport } => {
            format!("Registering {registration_id} with {endpoint} over {transport}")
        }
        Event::Assigned { assignment } => {
            assigned(assignment.device_id.as_str(), assignment.hub.as_str(), &assignment.state)
        }
        Event::Connected { hub, transport } => {
            format!("Will send telemetry from the provisioned device to {hub} over {transport}")
        }
        Event::Sending { number } => format!("sending message #{number}"),
        Event::Sent { number } => format!("done sending message #{number}"),
        #[cfg(feature = "emulator")]
        Event::Registry { device_id, hub, status } => format!("{device_id} is {status} in the registry of {hub}"),
        Event::Value { value, .. } => (*value).to_owned(),
        #[cfg(feature = "emulator")]
        Event::Ready(_) => return None,
        #[cfg(feature = "x509")]
        Event::Facts(_) | Event::Certificate { .. } | Event::Problem { .. } => return None,
        Event::FromDevice(event) => return device_event::text(event),
        Event::Finished { counts: [] } => return None,
        Event::Finished { counts } => {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            counts.join(", ")
        }
        Event::Result { outcome } if outcome.messages > 0 => {
            format!("{} of {} messages acknowledged", outcome.acknowledged, outcome.messages)
        }
        Event::Result { .. } => return None,
        Event::Error { failure } => error(failure),
    })
}

/// Returns the result of the registration in the form that Microsoft's sample prints.
pub(super) fn assigned(device_id: &str, hub: &str, state: &RegistrationState) -> String {
    let substatus = state.substatus.as_ref().map_or_else(|| "-".to_owned(), |it| visible(it.as_str()));
    let payload = state.payload.as_ref().map_or_else(|| "null".to_owned(), |it| visible(&it.to_string()));
    format!(
        "The complete registration result is\n  device id  {device_id}\n  hub        {hub}\n  \
         substatus  {substatus}\n  payload    {payload}"
    )
}

/// Returns the text of a failure for people. It says what failed, why, where, and what to do.
pub(super) fn error(failure: &Failure) -> String {
    let messages: Vec<String> = failure.messages.iter().map(|it| visible(it)).collect();
    let mut text = format!("error: {}", messages.join("\n  because: "));
    let mut facts = vec![format!("stage {}", failure.stage), format!("fault {}", failure.fault)];
    if let Some(endpoint) = &failure.endpoint {
        let via = failure.dialed.as_ref().map(|it| format!(" via {}", visible(it))).unwrap_or_default();
        facts.insert(1, format!("endpoint {}{via}", visible(endpoint)));
    }
    if let Some(code) = failure.service_code {
        facts.push(format!("service code {code}"));
    }
    if let Some(id) = &failure.tracking_id {
        facts.push(format!("tracking id {}", visible(id)));
    }
    text.push_str(&format!("\n  where: {}", facts.join(", ")));
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("\n  hint: {}", visible(hint)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_in_an_error_contains_no_control_characters() {
        let mut failure = Failure::local("one\u{1b}[2J\ntwo");
        failure.tracking_id = Some("t\u{7}".into());
        failure.endpoint = Some("hub:1".into());
        failure.dialed = Some("h\u{1b}:2".into());
        let text = error(&failure);
        assert!(text.starts_with("error: one [2J two\n  where: ") && text.contains("tracking id t "), "{text}");
        assert!(text.contains("where: stage local, endpoint hub:1 via h :2, fault local"), "{text}");
        assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
    }
}
