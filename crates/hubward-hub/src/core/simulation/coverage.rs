//! What went wrong, and in which state: a table that has to be full for a run to mean anything.

use std::fmt::Write as _;

/// Where a client can stand. Finer than the core's own phases: an attempt that a renewal begins is not
/// the one after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Waiting,
    Opening,
    Login,
    Up,
    /// While the token is replaced in place.
    Renewing,
    /// A renewal by reconnect, step by step.
    Draining,
    Leaving,
    Reopening,
    Relogin,
    /// Saying good-bye for ever.
    Goodbye,
    Ended,
}

use At::*;

const STATES: [At; 11] = [Waiting, Opening, Login, Up, Renewing, Draining, Leaving, Reopening, Relogin, Goodbye, Ended];

/// What can go wrong or be done at an awkward moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The peer closed, or the connection was reset.
    Cut,
    /// Nobody listens, no route.
    Unreachable,
    /// A certificate that is not trusted.
    Tls,
    /// The WebSocket upgrade was refused, with a time to wait.
    Upgrade,
    /// No token could be signed.
    NoToken,
    /// CONNACK 5.
    RefusedForGood,
    /// CONNACK 3.
    RefusedForNow,
    /// Nothing came until our own timer.
    Hang,
    /// What was waited for came late.
    Late,
    /// A half-open link: the transport's limit of silence.
    Silence,
    /// Pings are answered, acknowledgements not.
    Overdue,
    AnsweredTwice,
    AnsweredOutOfOrder,
    AnswerToNothing,
    /// The connection does not take a message.
    Unsendable,
    /// What was unanswered is sent again.
    SentAgain,
    /// The hub has forgotten the session.
    SessionLost,
    /// It looks as if another client had the same identity.
    Duplicate,
    WatchRefused,
    /// A renewal becomes due.
    Renewal,
    /// The machine slept, or its clock was set.
    ClockJump,
    ExpiredUnsent,
    ExpiredInFlight,
    Queued,
    Close,
    Drop,
    Abort,
}

use Kind::*;

const BEFORE_END: &[At] = &[Waiting, Opening, Login, Up, Renewing, Draining, Leaving, Reopening, Relogin];
const NOT_ENDED: &[At] = &[Waiting, Opening, Login, Up, Renewing, Draining, Leaving, Reopening, Relogin, Goodbye];
const CONNECTION: &[At] = &[Opening, Login, Up, Renewing, Draining, Leaving, Reopening, Relogin, Goodbye];
const EXCHANGE: &[At] = &[Up, Renewing, Draining];

const ONLY_CONNECTING: &str = "only an attempt to connect ends that way";
const ONLY_LOGIN: &str = "only a login is answered that way";
const ONLY_EXCHANGE: &str = "nothing is read, or nothing was asked on this connection";
const ONLY_SENDING: &str = "nothing is sent";

/// Each kind, the states that must meet it, and why the others cannot.
const TABLE: [(Kind, &[At], &str); 27] = [
    (Cut, CONNECTION, "there is no connection that could be cut"),
    (Unreachable, &[Opening, Reopening], ONLY_CONNECTING),
    (Tls, &[Opening, Reopening], ONLY_CONNECTING),
    (Upgrade, &[Opening, Reopening], ONLY_CONNECTING),
    (NoToken, &[Opening, Renewing, Reopening], "nothing is signed"),
    (RefusedForGood, &[Login, Relogin], ONLY_LOGIN),
    (RefusedForNow, &[Login, Relogin], ONLY_LOGIN),
    (
        Hang,
        &[Opening, Login, Renewing, Draining, Leaving, Reopening, Relogin, Goodbye],
        "nothing of the peer's is waited for, or (Up) it is called Silence or Overdue",
    ),
    (Late, CONNECTION, "nothing of the peer's is waited for"),
    (
        Silence,
        EXCHANGE,
        "a transport has no limit before the login is accepted, and none for a good-bye: there the core's own counts",
    ),
    (Overdue, &[Up, Renewing], "no acknowledgement is waited for, or (Draining) for a shorter time"),
    (AnsweredTwice, EXCHANGE, ONLY_EXCHANGE),
    (AnsweredOutOfOrder, EXCHANGE, ONLY_EXCHANGE),
    (AnswerToNothing, EXCHANGE, ONLY_EXCHANGE),
    (Unsendable, EXCHANGE, ONLY_SENDING),
    (SentAgain, EXCHANGE, ONLY_SENDING),
    (SessionLost, &[Login, Relogin], ONLY_LOGIN),
    (
        Duplicate,
        &[Up, Renewing],
        "a connection that was not accepted proves nothing, and the end of one that was to be left is no failure",
    ),
    (WatchRefused, EXCHANGE, ONLY_EXCHANGE),
    (Renewal, &[Up], "only a connection that is up, and not being renewed, is renewed"),
    (ClockJump, NOT_ENDED, "the driver is gone"),
    (ExpiredUnsent, BEFORE_END, "everything is resolved by then"),
    (ExpiredInFlight, BEFORE_END, "everything is resolved by then"),
    (Queued, &STATES, ""),
    (Close, &STATES, ""),
    (Drop, &STATES, ""),
    (Abort, NOT_ENDED, "a driver that has ended does nothing when it is dropped"),
];

/// How often each kind met each state.
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

    /// What is missing from the table, and what cannot be there.
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

    /// The table, for people.
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
fn the_table_has_each_kind_in_its_place_and_a_reason_for_each_gap() {
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
