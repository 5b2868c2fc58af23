//! A table of failures, and of the client states in which each failure happened.
//!
//! An empty entry means that the run did not test this failure in this state. If `TABLE` requires the entry, the test
//! fails.

use std::fmt::Write as _;

const STATES: [At; 12] = [
    Waiting,
    Deciding,
    Opening,
    Login,
    Up,
    Renewing,
    Draining,
    Disconnecting,
    Reopening,
    Relogin,
    FinalDisconnect,
    Ended,
];

const BEFORE_END: &[At] =
    &[Waiting, Deciding, Opening, Login, Up, Renewing, Draining, Disconnecting, Reopening, Relogin];
const NOT_ENDED: &[At] =
    &[Waiting, Deciding, Opening, Login, Up, Renewing, Draining, Disconnecting, Reopening, Relogin, FinalDisconnect];
const CONNECTION: &[At] = &[Opening, Login, Up, Renewing, Draining, Disconnecting, Reopening, Relogin, FinalDisconnect];
const EXCHANGE: &[At] = &[Up, Renewing, Draining];

const ONLY_CONNECTING: &str = "only an attempt to connect can end this way";
const ONLY_LOGIN: &str = "only a login can be answered this way";
const ONLY_EXCHANGE: &str = "nothing is read, or no request was sent on this connection";
const ONLY_SENDING: &str = "nothing is sent";

/// For each kind of failure: the states in which the failure must happen, and why it cannot happen in the other states.
const TABLE: [(Kind, &[At], &str); 30] = [
    (Cut, CONNECTION, "no connection exists"),
    (Unreachable, &[Opening, Reopening], ONLY_CONNECTING),
    (Tls, &[Opening, Reopening], ONLY_CONNECTING),
    (Upgrade, &[Opening, Reopening], ONLY_CONNECTING),
    (NoToken, &[Opening, Renewing, Reopening], "nothing is signed"),
    (RefusedPermanently, &[Login, Relogin], ONLY_LOGIN),
    (RefusedTemporarily, &[Login, Relogin], ONLY_LOGIN),
    (
        Hang,
        &[Opening, Login, Renewing, Draining, Disconnecting, Reopening, Relogin, FinalDisconnect],
        "the client does not wait for the peer, or (Up) the kind is Silence or Overdue",
    ),
    (Late, CONNECTION, "the client does not wait for the peer"),
    (
        Silence,
        EXCHANGE,
        "a transport has no limit before the login or for a disconnect: there the core's own limit counts",
    ),
    (Overdue, &[Up, Renewing], "the client waits for no acknowledgement, or (Draining) for a shorter time"),
    (AckRepeated, EXCHANGE, ONLY_EXCHANGE),
    (AckOutOfOrder, EXCHANGE, ONLY_EXCHANGE),
    (AckOfNothing, EXCHANGE, ONLY_EXCHANGE),
    (Unsendable, EXCHANGE, ONLY_SENDING),
    (SentAgain, EXCHANGE, ONLY_SENDING),
    (SessionLost, &[Login, Relogin], ONLY_LOGIN),
    (
        Duplicate,
        &[Up, Renewing],
        "a connection that was not accepted proves nothing, and the end of one being closed is not a failure",
    ),
    (SubscriptionRefused, EXCHANGE, ONLY_EXCHANGE),
    (Renewal, &[Up], "only a connection that is up, and not being renewed, is renewed"),
    (ClockJump, NOT_ENDED, "the driver is dropped"),
    (ExpiredUnsent, BEFORE_END, "everything is resolved by then"),
    (ExpiredInFlight, BEFORE_END, "everything is resolved by then"),
    (MoveElsewhere, BEFORE_END, "a client that ends does not move"),
    (MoveHere, BEFORE_END, "a client that ends does not move"),
    (ProviderEnd, &[Deciding], "only a client that waits for its provider is ended by it here"),
    (Queued, &STATES, ""),
    (Close, &STATES, ""),
    (Drop, &STATES, ""),
    (Abort, NOT_ENDED, "a driver that has ended does nothing when it is dropped"),
];

/// The states of a client. They distinguish more cases than the phases of the core. For example, an attempt during a
/// renewal and an attempt after a failure are different states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Waiting,
    /// The provider decides.
    Deciding,
    Opening,
    Login,
    Up,
    /// While the token is replaced in place.
    Renewing,
    /// The steps of a renewal by reconnect.
    Draining,
    Disconnecting,
    Reopening,
    Relogin,
    /// The orderly disconnect at the end of the client.
    FinalDisconnect,
    Ended,
}

use At::*;

/// The failures and events that can happen at an inconvenient moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The peer closed, or the connection was reset.
    Cut,
    /// No server listens, or no route exists.
    Unreachable,
    /// A certificate that is not trusted.
    Tls,
    /// The WebSocket upgrade was refused, with a time to wait.
    Upgrade,
    /// No token could be signed.
    NoToken,
    /// CONNACK 5.
    RefusedPermanently,
    /// CONNACK 3.
    RefusedTemporarily,
    /// No answer came until the client's own timer.
    Hang,
    /// The expected event came late.
    Late,
    /// A half-open connection: the transport reached its limit of silence.
    Silence,
    /// Pings are answered, acknowledgements are not.
    Overdue,
    AckRepeated,
    AckOutOfOrder,
    AckOfNothing,
    /// The connection cannot send a message.
    Unsendable,
    /// An unacknowledged message is sent again.
    SentAgain,
    /// The hub has forgotten the session.
    SessionLost,
    /// The client suspects another client with the same identity.
    Duplicate,
    SubscriptionRefused,
    /// A renewal becomes due.
    Renewal,
    /// The machine slept, or its clock was set.
    ClockJump,
    ExpiredUnsent,
    ExpiredInFlight,
    /// The provider moves the client to another hub.
    MoveElsewhere,
    /// The provider gives the client another credential or protocol for the same hub.
    MoveHere,
    ProviderEnd,
    Queued,
    Close,
    Drop,
    Abort,
}

use Kind::*;

/// How often each kind happened in each state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen([[u64; STATES.len()]; TABLE.len()]);

impl Seen {
    pub(super) const fn note(&mut self, kind: Kind, at: At) {
        self.0[kind as usize][at as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (row, more) in self.0.iter_mut().zip(&other.0) {
            row.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    /// Returns the required entries that are empty, and the filled entries that should be impossible.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (kind, states, reason) in TABLE {
            for at in STATES {
                match (states.contains(&at), self.0[kind as usize][at as usize]) {
                    (true, 0) => problems.push(format!("{kind:?} never met {at:?}")),
                    (false, 1..) => problems.push(format!("{kind:?} met {at:?}, although {reason}")),
                    _ => {}
                }
            }
        }
        problems
    }

    /// The table as text.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{:<20}", "");
        for at in STATES {
            let _infallible = write!(text, "{:>11}", format!("{at:?}"));
        }
        for (kind, states, _) in TABLE {
            let _infallible = write!(text, "\n{:<20}", format!("{kind:?}"));
            for at in STATES {
                let count = self.0[kind as usize][at as usize];
                let cell = if count > 0 || states.contains(&at) { count.to_string() } else { "-".into() };
                let _infallible = write!(text, "{cell:>11}");
            }
        }
        text
    }
}

#[test]
fn the_table_accepts_each_kind_in_its_states_and_gives_a_reason_for_each_gap() {
    for (place, (kind, states, reason)) in TABLE.into_iter().enumerate() {
        assert_eq!(kind as usize, place, "{kind:?}");
        assert_eq!(states.len() == STATES.len(), reason.is_empty(), "{kind:?}");
    }
    for (place, at) in STATES.into_iter().enumerate() {
        assert_eq!(at as usize, place);
    }
    let mut seen = Seen::default();
    seen.note(Abort, Ended);
    let problems = seen.problems();
    assert!(problems.contains(&"Cut never met Up".to_owned()), "{problems:?}");
    assert!(problems.iter().any(|it| it.starts_with("Abort met Ended, although a driver")), "{problems:?}");
}
