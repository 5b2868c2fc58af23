//! The exit codes, a documented interface: see docs/cli.md.

use hubward::Fault;

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// The command succeeded.
    Ok = 0,
    /// A problem of this machine. Examples: a file cannot be written, or a port is in use.
    Local = 1,
    /// A missing or wrong argument, variable or input.
    Usage = 2,
    /// The connection failed or broke.
    Network = 3,
    /// The certificate is not trusted, or TLS failed.
    Tls = 4,
    /// The service does not accept the key, token or ID.
    Credential = 5,
    /// The service refused the request for another reason.
    Refused = 6,
    /// The service is throttling requests.
    Throttled = 7,
    /// The time limit passed.
    Deadline = 8,
    /// The answer of the service is not valid.
    Protocol = 9,
    /// Some messages were not acknowledged.
    Unacknowledged = 10,
    /// This version does not support the operation.
    Unsupported = 11,
    /// Stdout could not be written. The command does not complete cloud-to-device messages that it could not print.
    Output = 12,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
    /// The reader closed the pipe, as `| head -1` does. Shells use the same code: 128 plus the number of the signal
    /// SIGPIPE.
    ClosedPipe = 141,
}

impl From<Fault> for ExitCode {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Network => Self::Network,
            Fault::Tls => Self::Tls,
            Fault::Credential => Self::Credential,
            Fault::Service => Self::Refused,
            Fault::Throttled => Self::Throttled,
            Fault::Deadline => Self::Deadline,
            Fault::Peer => Self::Protocol,
            Fault::Request => Self::Usage,
            Fault::Unsupported => Self::Unsupported,
            _ => Self::Local,
        }
    }
}
