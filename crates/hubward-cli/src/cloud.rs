//! Code that `quickstart` and `emulator` share: the shell commands that set the variables of a local cloud, and the
//! failure to print if the cloud does not start.

use hubward::limits::{HTTPS_PORT, MQTT_PORT};
use hubward_emulator::{StartError, StateError};

use crate::failure::Failure;
use crate::shell::Shell;

/// Returns the shell commands that set the variables of the local cloud. After these commands, `hubward provision`
/// needs no arguments, and Python and Node trust the local cloud.
///
/// `variables` are for a device, and `operator` contains the logins for operators. `ports` are the emulator's ports of
/// MQTT and of HTTPS. Microsoft's SDKs always use the same two ports. If `ports` differ from them, a comment says so.
pub(crate) fn block(
    variables: &[(String, String)],
    operator: &[(String, String)],
    ports: (u16, u16),
    shell: Shell,
) -> String {
    let mut lines: Vec<String> = variables.iter().map(|(name, value)| shell.export(name, value)).collect();
    if let Some(ca) = value(variables, hubward::vars::CA_FILE) {
        lines.push(shell.comment("for Microsoft's SDKs: Python, then Node; for others: hubward emulator trust"));
        lines.extend(sdk_ports_note(ports).map(|it| shell.comment(&it)));
        lines.push(shell.export("SSL_CERT_FILE", &ca));
        lines.push(shell.export("NODE_EXTRA_CA_CERTS", &ca));
    }
    if !operator.is_empty() {
        lines.push(shell.comment("for operators: hubward dps enrollment list, hubward hub device-identity list"));
        lines.extend(operator.iter().map(|(name, value)| shell.export(name, value)));
    }
    lines.push(
        shell.comment("then: hubward provision --messages 10, or hubward device run   (--transport mqtt or mqtt-ws)"),
    );
    lines.retain(|it| !it.is_empty());
    lines.join("\n")
}

/// Returns a note if the emulator uses another port of MQTT or of HTTPS than Microsoft's SDKs. The SDKs cannot connect
/// to this port.
///
/// Source: `[sdk]` python, node. The SDKs have no option for the ports.
fn sdk_ports_note((mqtt, https): (u16, u16)) -> Option<String> {
    Some(match (mqtt == MQTT_PORT, https == HTTPS_PORT) {
        (true, true) => return None,
        (true, false) => format!(
            "Microsoft's SDKs can use MQTT only: their port for HTTPS and WebSocket is always {HTTPS_PORT}, not \
             {https} (see --standard-ports)"
        ),
        (false, true) => format!(
            "Microsoft's SDKs can use HTTPS and WebSocket only: their port for MQTT is always {MQTT_PORT}, not {mqtt} \
             (see --mqtt-port)"
        ),
        (false, false) => format!(
            "Microsoft's SDKs cannot use this emulator: their ports are always {MQTT_PORT} and {HTTPS_PORT}, not \
             {mqtt} and {https}"
        ),
    })
}

/// Converts the names of the variables from `&'static str` to `String`.
pub(crate) fn owned(variables: Vec<(&'static str, String)>) -> Vec<(String, String)> {
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the value of the variable with this name.
pub(crate) fn value(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone())
}

/// Converts the error of a failed start into the failure that the command prints. Adds a hint for some errors.
pub(crate) fn not_started(error: StartError) -> Failure {
    let hint = match &error {
        StartError::Bind { what, source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Some(format!("ports below 1024 need root or a capability of the program; choose another {what} port"))
        }
        StartError::Bind { what, .. } => {
            Some(format!("stop the program that listens there, or choose another {what} port"))
        }
        StartError::DevKeys { .. } => {
            Some("the development keys are public: leave out --dev-keys, or bind to loopback only".to_owned())
        }
        StartError::Ca(_) => Some(
            "check that you own the data directory and that its files are intact, or choose another: --data-dir"
                .to_owned(),
        ),
        StartError::State(StateError::Damaged { .. } | StateError::Older { .. } | StateError::Unreadable { .. }) => {
            Some("to start without this state, choose another directory: --data-dir DIR".to_owned())
        }
        StartError::State(_) | StartError::Lost(_) => Some(
            "only one emulator at a time can use a data directory: choose another one, --data-dir DIR, or none, \
             --in-memory"
                .to_owned(),
        ),
        _ => None,
    };
    let mut failure = Failure::local_with_causes(&error);
    // All other errors are caused by the arguments or the seed.
    let of_this_machine = matches!(
        error,
        StartError::Bind { .. }
            | StartError::Ca(_)
            | StartError::State(_)
            | StartError::Lost(_)
            | StartError::PolicyKey(_)
            | StartError::Tls(_)
            | StartError::File { .. }
    );
    if !of_this_machine {
        let messages = std::mem::take(&mut failure.messages);
        failure = Failure::usage("");
        failure.messages = messages;
    }
    if hint.is_some() {
        failure.hint = hint;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_gets_lines_in_its_own_syntax() {
        let variables = [("A".to_owned(), "it's".to_owned()), ("HUBWARD_CA_FILE".to_owned(), "/ca.pem".to_owned())];
        for (shell, first, last) in [
            (Shell::Sh, r"export A='it'\''s'", "export NODE_EXTRA_CA_CERTS='/ca.pem'"),
            (Shell::Pwsh, "$env:A = 'it''s'", "$env:NODE_EXTRA_CA_CERTS = '/ca.pem'"),
            (Shell::Cmd, "set \"A=it's\"", "set \"NODE_EXTRA_CA_CERTS=/ca.pem\""),
        ] {
            let text = block(&variables, &[], (8883, 443), shell);
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!((lines[0], lines[lines.len() - 2]), (first, last));
        }
    }

    #[test]
    fn other_ports_than_those_of_the_sdks_are_mentioned() {
        let variables = [("HUBWARD_CA_FILE".to_owned(), "/ca.pem".to_owned())];
        let standard = block(&variables, &[], (8883, 443), Shell::Sh);
        for (ports, note) in [
            ((8883, 8443), "can use MQTT only: their port for HTTPS and WebSocket is always 443, not 8443"),
            ((1883, 443), "can use HTTPS and WebSocket only: their port for MQTT is always 8883, not 1883"),
            ((1, 2), "cannot use this emulator: their ports are always 8883 and 443, not 1 and 2"),
        ] {
            let text = block(&variables, &[], ports, Shell::Sh);
            assert!(text.contains(&format!("# Microsoft's SDKs {note}")), "{text}");
            let others: Vec<&str> = text.lines().filter(|it| !it.contains(note)).collect();
            assert_eq!(others.join("\n"), standard, "the note is one line, and the only difference");
        }
    }
}
