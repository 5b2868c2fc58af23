//! The sink: a separate process that receives telemetry over TLS 1.3 and acknowledges it.

mod process;
mod server;
mod upgrade;

pub(crate) use process::{SinkProcess, run};
pub(crate) use server::HOST;
use server::serve;

/// How a sink writes its acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Style {
    /// All acknowledgements of one read in one write.
    Bulk,
    /// A write and a flush for every PUBACK.
    BrokerLike,
}

impl Style {
    pub(crate) const ALL: [Self; 2] = [Self::Bulk, Self::BrokerLike];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::BrokerLike => "broker-like",
        }
    }
}
