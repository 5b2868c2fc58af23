//! Counts what happened in the simulation. A kind that never happens fails the test, because it tests nothing.

use std::collections::BTreeMap;

use super::super::event::DeviceEvent;
use super::super::lifecycle::Reason;

/// Everything that must happen in a normal test run.
const KINDS: [&str; 44] = [
    "hub: accepts",
    "hub: accepts and drops",
    "hub: unreachable",
    "hub: hangs",
    "hub: untrusted",
    "hub: refuses the credential",
    "hub: does not know the device",
    "hub: unavailable",
    "hub: throttles",
    "hub: throttles with Retry-After",
    "hub: cut",
    "hub: dead and assigned",
    "hub: acknowledges late",
    "dps: assigns at once",
    "dps: assigns after polls",
    "dps: keeps assigning",
    "dps: 429",
    "dps: 429 with Retry-After",
    "dps: 500",
    "dps: refuses",
    "dps: disabled",
    "dps: unreachable",
    "dps: hangs",
    "dps: poll fails",
    "registers: no assignment",
    "registers: hub fails too long",
    "registers: hub refuses",
    "registers: next credential",
    "registers: slow schedule",
    "registers: again",
    "registers: requested",
    "registers: credentials changed",
    "registers: trial failed",
    "event: moved",
    "event: credentials kept",
    "event: credentials rolled back",
    "event: started from the cache",
    "program: reboot",
    "program: changes a trial",
    "receipt: acknowledged",
    "receipt: not sent",
    "receipt: unknown",
    "message: sent again to its hub",
    "message: sent to two hubs",
];

/// How often each kind happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub(super) fn note(&mut self, kind: &'static str) {
        assert!(KINDS.contains(&kind), "unknown kind: {kind}");
        *self.0.entry(kind).or_default() += 1;
    }

    pub(super) fn note_event(&mut self, event: &DeviceEvent) {
        let kind = match event {
            DeviceEvent::CacheUsed { .. } => "event: started from the cache",
            DeviceEvent::Connected { moved_from: Some(_), .. } => "event: moved",
            DeviceEvent::CredentialsKept { .. } => "event: credentials kept",
            DeviceEvent::CredentialsRolledBack { .. } => "event: credentials rolled back",
            DeviceEvent::Registering { reason, .. } => match reason {
                Reason::NoAssignment => "registers: no assignment",
                Reason::HubFailsTooLong { .. } => "registers: hub fails too long",
                Reason::HubRefuses => "registers: hub refuses",
                Reason::NextCredentialAtDps => "registers: next credential",
                Reason::SlowSchedule { .. } => "registers: slow schedule",
                Reason::RegisterAgain(_) => "registers: again",
                Reason::Requested => "registers: requested",
                Reason::CredentialsChanged => "registers: credentials changed",
                Reason::TrialFailed { .. } => "registers: trial failed",
                _ => return,
            },
            _ => return,
        };
        self.note(kind);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// The kinds that never happened.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        KINDS.into_iter().filter(|it| !self.0.contains_key(it)).collect()
    }

    pub(super) fn table(&self) -> String {
        self.0.iter().map(|(kind, count)| format!("{count:>10}  {kind}\n")).collect()
    }
}
