//! What the two commands that run a local cloud share: lines to paste, and how they end.

use hubward_emulator::{StartError, StateError};

use crate::failure::Failure;
use crate::shell::Shell;

/// The lines that make plain `hubward provision` find the local cloud, and Python and Node trust it.
pub(crate) fn block(variables: &[(String, String)], operator: &[(String, String)], shell: Shell) -> String {
    let mut lines: Vec<String> = variables.iter().map(|(name, value)| shell.export(name, value)).collect();
    if let Some(ca) = value(variables, hubward::vars::CA_FILE) {
        lines.push(shell.comment("for Microsoft's SDKs: Python, then Node; others: hubward emulator trust"));
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
    lines.join("\n")
}

/// Variables as the emulator gives them, in the form they are shown and kept in.
pub(crate) fn owned(variables: Vec<(&'static str, String)>) -> Vec<(String, String)> {
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The value of a variable.
pub(crate) fn value(variables: &[(String, String)], name: &str) -> Option<String> {
    variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone())
}

/// A start that failed, with what to do about it.
pub(crate) fn not_started(error: StartError) -> Failure {
    let hint = match &error {
        StartError::Bind { what, source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Some(format!("ports below 1024 need root or a capability: choose another {what} port"))
        }
        StartError::Bind { what, .. } => {
            Some(format!("another program listens there: stop it, or choose another {what} port"))
        }
        StartError::DevKeys { .. } => {
            Some("everybody knows these keys: leave out --dev-keys, or --bind with other addresses".to_owned())
        }
        StartError::Ca(_) => Some("is the data directory yours, and whole? choose another one: --data-dir".to_owned()),
        StartError::State(StateError::Damaged { .. } | StateError::Older { .. } | StateError::Unreadable { .. }) => {
            Some("to start beside it, choose another directory: --data-dir DIR".to_owned())
        }
        StartError::State(_) | StartError::Lost(_) => Some(
            "one emulator at a time uses a data directory: --data-dir DIR chooses another one, --in-memory none"
                .to_owned(),
        ),
        _ => None,
    };
    let mut failure = Failure::local_with_causes(&error);
    // Of the arguments and the seed, not of this machine.
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
    fn each_shell_gets_its_own_lines() {
        let variables = [("A".to_owned(), "it's".to_owned()), ("HUBWARD_CA_FILE".to_owned(), "/ca.pem".to_owned())];
        for (shell, first, last) in [
            (Shell::Sh, r"export A='it'\''s'", "export NODE_EXTRA_CA_CERTS='/ca.pem'"),
            (Shell::Pwsh, "$env:A = 'it''s'", "$env:NODE_EXTRA_CA_CERTS = '/ca.pem'"),
            (Shell::Cmd, "set \"A=it's\"", "set \"NODE_EXTRA_CA_CERTS=/ca.pem\""),
        ] {
            let text = block(&variables, &[], shell);
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!((lines[0], lines[lines.len() - 2]), (first, last));
        }
    }
}
