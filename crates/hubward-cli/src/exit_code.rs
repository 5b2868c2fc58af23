//! The exit codes, a documented interface: see docs/cli.md.

use hubward::Fault;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// All done.
    Ok = 0,
    /// This program's own failure: a file that cannot be written, a port that is taken.
    Local = 1,
    /// A missing or wrong argument, variable or input.
    Usage = 2,
    /// No connection, or it broke.
    Network = 3,
    /// A certificate that is not to be trusted.
    Tls = 4,
    /// The service does not accept key, token or id.
    Credential = 5,
    /// The service said no for another reason.
    Refused = 6,
    /// The service asked to come later.
    Throttled = 7,
    /// It took longer than allowed.
    Deadline = 8,
    /// An answer that makes no sense.
    Protocol = 9,
    /// Some messages were not acknowledged.
    Unacknowledged = 10,
    /// Something this version cannot do.
    Unsupported = 11,
    /// Stdout could not be written; what was not shown was not completed.
    Output = 12,
    /// Ctrl-C.
    Interrupted = 130,
    /// The reader closed the pipe, as `| head -1` does: 128 and the number of SIGPIPE, as a shell shows
    /// it of the usual tools.
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
