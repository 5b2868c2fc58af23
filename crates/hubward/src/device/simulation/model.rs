//! An independent model of what a device may do. It sees only the wire: requests, answers, and their times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// The longest time that DPS takes to answer the other credentials of a round.
const LATENCY: Duration = Duration::from_secs(4);
/// The time of failures at the hub before DPS is asked.
const FAILING_FOR: Duration = Duration::from_secs(15 * 60);
/// The number of failures at the hub before DPS is asked.
const FAILURES: u32 = 10;
/// After this time, a connection ends a row of failures.
const LASTING: Duration = Duration::from_secs(30);
/// After this time, a connection ends the slow schedule.
const SETTLED: Duration = Duration::from_secs(10 * 60);

/// The answer of DPS to a register request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// DPS took the request, and the device is or will be assigned.
    Assigned,
    Refused,
    /// The failure passes. The device has to wait for this time.
    Failed(Duration),
}

/// What the model knows.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The number of credentials in each list. A list has the letter with which the names of its credentials begin.
    pub(super) lists: BTreeMap<char, usize>,
    /// The hub that DPS assigned last.
    pub(super) home: Option<usize>,
    /// Whether an operator has asked for a registration that the device has not made yet.
    operator: bool,
    /// Whether the registration that is running is one that an operator has asked for.
    pub(super) is_by_operator: bool,
    /// Whether an operator has asked for the registrations of this round.
    is_operators_round: bool,
    /// New credentials that may register once without a wait.
    trials: BTreeSet<String>,
    /// When DPS last answered each credential.
    answered: BTreeMap<String, Instant>,
    last: Option<(String, Outcome)>,
    /// The number of rounds of registrations that followed a refusal.
    rounds: i32,
    dps_not_before: Option<Instant>,
    hub_not_before: BTreeMap<usize, Instant>,
    failures: u32,
    failing_since: Option<Instant>,
    /// Failures at the hub since the last register request.
    failures_since_request: u32,
    /// Whether the hub has refused all credentials since DPS answered.
    is_refused: bool,
    /// How long the credentials of this round have to wait since DPS last answered them.
    least: Duration,
    /// The credentials that the hub has refused in this round.
    round_at_hub: BTreeSet<String>,
    round_at_dps: BTreeSet<String>,
    next_at_hub: Option<String>,
    /// For each list, the credential that DPS must see next.
    next_at_dps: BTreeMap<char, String>,
    /// The credential of an operation that DPS has not ended.
    unfinished: Option<String>,
    /// Whether the hub has accepted the device since the last register request.
    is_accepted_meanwhile: bool,
    /// Whether the registration that is running follows a refusal.
    is_round: bool,
    /// Whether the registration that is running is the first one of a new credential.
    is_trial: bool,
    connected_at: Option<Instant>,
}

impl Model {
    /// The program or an operator asks for a registration.
    pub(super) fn on_operator(&mut self, dps_is_open: bool) {
        self.operator = true;
        self.next_at_hub = None;
        if !dps_is_open {
            self.next_at_dps.clear();
        }
    }

    /// The program changes the credentials to a list of `count`.
    pub(super) fn on_change(&mut self, list: char, count: usize) {
        self.lists.insert(list, count);
        self.trials.extend((0..count).map(|it| format!("{list}{it}")));
        self.round_at_hub.clear();
        (self.next_at_hub, self.unfinished) = (None, None);
    }

    /// The device starts again. It knows only its hub.
    pub(super) fn on_reboot(&mut self) {
        let (lists, home) = (std::mem::take(&mut self.lists), self.home);
        let (dps_not_before, hub_not_before) = (None, BTreeMap::new());
        *self = Self { lists, home, dps_not_before, hub_not_before, ..Self::default() };
    }

    /// The order of the credentials at DPS starts anew.
    fn forget_order(&mut self, key: &str) {
        (self.next_at_hub, self.unfinished) = (None, None);
        self.next_at_dps.remove(&list_of(key));
        self.round_at_dps.retain(|it| !is_same_list(it, key));
    }

    /// The device sends a register request.
    pub(super) fn on_register(&mut self, now: Instant, key: &str, hub_is_open: bool) -> Result<(), String> {
        if self.dps_not_before.is_some_and(|it| now < it) {
            return Err("a request to DPS before its Retry-After has passed".into());
        }
        let failures_since_request = std::mem::take(&mut self.failures_since_request);
        self.is_accepted_meanwhile = self.connected_at.is_some();
        let next = self.next_at_dps.get(&list_of(key)).cloned();
        let continues = self.is_operators_round && next.is_some();
        // The request of an operator waits until DPS has answered all credentials of a round.
        let is_refused = matches!(&self.last, Some((it, Outcome::Refused)) if is_same_list(it, key));
        let by_operator = self.operator && !(is_refused && next.as_deref() == Some(key));
        self.is_operators_round = continues || by_operator;
        self.is_by_operator = self.is_operators_round;
        self.is_trial = self.trials.contains(key);
        self.is_round = false;
        if by_operator {
            self.operator = false;
            self.forget_order(key);
            return Ok(());
        }
        if hub_is_open && !continues {
            return Err("a connection to DPS beside one to the hub".into());
        }
        if let Some(next) = self.next_at_hub.take().filter(|it| !continues && is_same_list(it, key)) {
            return Err(format!("the order of credentials: the hub did not see {next}"));
        }
        let expected = self.next_at_dps.remove(&list_of(key));
        if expected.is_none() {
            self.round_at_dps.retain(|it| !is_same_list(it, key));
        }
        if let Some(next) = expected.as_ref().filter(|it| *it != key) {
            return Err(format!("the order of credentials: DPS saw {key} instead of {next}"));
        }
        if self.unfinished.take().is_some_and(|it| it == key) {
            return Err("a registration is paid again, although its operation is known".into());
        }
        if continues {
            // The request of the operator has no answer yet.
            return Ok(());
        }
        if expected.is_some() && matches!(&self.last, Some((_, Outcome::Refused))) {
            return self.check_gap(now, key);
        }
        let failing_for = self.failing_since.map_or(Duration::ZERO, |it| now - it);
        let fails_long = self.failures >= FAILURES && failing_for >= FAILING_FOR;
        let is_dps_refused = matches!(&self.last, Some((_, Outcome::Refused)));
        match (&self.last, self.home) {
            (_, None) => {}
            (Some((_, Outcome::Failed(_))), _) if failures_since_request > 0 => return Ok(()),
            _ if self.is_refused || fails_long => {}
            _ => {
                return Err(format!("a registration without a reason: {} failures for {failing_for:?}", self.failures));
            }
        }
        let minutes = 5_u64.saturating_mul(1 << (self.rounds - 1).clamp(0, 10)).min(60);
        let least = Duration::from_secs(minutes * 45);
        self.least = if fails_long && !is_dps_refused { least.min(FAILING_FOR) } else { least };
        self.check_gap(now, key)?;
        self.is_round = !self.is_trial && (self.is_refused || (self.home.is_none() && is_dps_refused));
        Ok(())
    }

    /// Checks the time since DPS last answered this credential.
    fn check_gap(&mut self, now: Instant, key: &str) -> Result<(), String> {
        if self.trials.remove(key) {
            return Ok(());
        }
        let Some(answered) = self.answered.get(key) else { return Ok(()) };
        if now - *answered + LATENCY < self.least {
            return Err(format!(
                "more registrations than the policy allows: {:?} after the last one, and {} rounds",
                now - *answered,
                self.rounds
            ));
        }
        Ok(())
    }

    /// DPS answers a register request.
    pub(super) fn on_answer(&mut self, now: Instant, key: &str, outcome: Outcome) {
        self.last = Some((key.to_owned(), outcome));
        let is_by_operator = self.is_operators_round;
        if let Outcome::Failed(wait) = outcome {
            self.dps_not_before = Some(now + wait);
            if !self.operator {
                self.next_at_dps.insert(list_of(key), key.to_owned());
            }
            return;
        }
        if !is_by_operator {
            // The client may have an attempt at the hub beside the request of an operator.
            self.is_refused = false;
        }
        self.rounds += i32::from(self.is_round);
        if !is_by_operator && !self.is_trial {
            self.answered.insert(key.to_owned(), now);
        }
        if outcome == Outcome::Refused {
            self.round_at_dps.insert(key.to_owned());
            let next = self.next_in(key, &self.round_at_dps);
            match next {
                Some(next) => drop(self.next_at_dps.insert(list_of(key), next)),
                None => self.round_at_dps.retain(|it| !is_same_list(it, key)),
            }
        } else {
            self.round_at_dps.retain(|it| !is_same_list(it, key));
        }
    }

    /// The device polls an operation.
    pub(super) fn on_poll(&mut self, now: Instant) -> Result<(), String> {
        self.unfinished = None;
        match self.dps_not_before {
            Some(it) if now < it => Err("a poll of DPS before its Retry-After has passed".into()),
            _ => Ok(()),
        }
    }

    /// DPS does not answer a poll. The device has to wait for this time.
    pub(super) fn on_poll_failed(&mut self, now: Instant, wait: Duration) {
        self.dps_not_before = Some(now + wait);
    }

    /// The device closes its connection to DPS, and has got an assignment or not.
    pub(super) fn on_dps_closed(&mut self, key: &str, has_polled: bool, is_assigned: bool) {
        self.is_by_operator = false;
        if is_assigned || !matches!(&self.last, Some((it, Outcome::Assigned)) if it == key) {
            return;
        }
        // DPS has taken the request, and has not ended it.
        self.last = Some((key.to_owned(), Outcome::Failed(Duration::ZERO)));
        self.answered.remove(key);
        self.rounds -= i32::from(std::mem::take(&mut self.is_round));
        if !self.operator {
            self.next_at_dps.insert(list_of(key), key.to_owned());
            // If the hub has accepted the device meanwhile, the supervisor hears it next, and forgets the operation.
            let is_kept = has_polled && !self.is_accepted_meanwhile;
            self.unfinished = is_kept.then(|| key.to_owned());
        }
    }

    /// DPS says which hub it has assigned.
    pub(super) fn on_assigned(&mut self, key: &str, hub: usize) {
        if self.home.replace(hub) != Some(hub) {
            // A Retry-After is for the time at this hub. If the device comes back later, it may connect at once.
            self.hub_not_before.clear();
        }
        self.last = Some((key.to_owned(), Outcome::Assigned));
        self.round_at_hub.clear();
        (self.failures, self.failing_since) = (0, None);
        self.is_refused = false;
        self.forget_order(key);
    }

    /// The device opens a connection.
    pub(super) fn on_open(&mut self, now: Instant, hub: usize, key: &str, dps_is_open: bool) -> Result<(), String> {
        if dps_is_open && !self.is_by_operator {
            return Err("a connection to the hub beside one to DPS".into());
        }
        if self.home != Some(hub) {
            return Err(format!("a connection to hub {hub}, but DPS assigned {:?}", self.home));
        }
        if self.hub_not_before.get(&hub).is_some_and(|it| now < *it) {
            return Err("a connection before the Retry-After of the hub has passed".into());
        }
        // Other credentials start anew.
        self.unfinished.take_if(|it| !is_same_list(it, key));
        match self.next_at_hub.take().filter(|it| is_same_list(it, key)) {
            Some(next) if next != key => Err(format!("the order of credentials: the hub saw {key} instead of {next}")),
            _ => Ok(()),
        }
    }

    /// An attempt to connect fails, or the hub ends a connection.
    pub(super) fn on_failed(&mut self, now: Instant, hub: usize, retry_after: Duration) {
        self.on_closed(now);
        self.failures += 1;
        self.failures_since_request += 1;
        self.failing_since.get_or_insert(now);
        if !retry_after.is_zero() {
            self.hub_not_before.insert(hub, now + retry_after);
        }
    }

    /// The hub refuses the identity.
    pub(super) fn on_refused(&mut self, now: Instant, hub: usize, key: &str) {
        self.on_failed(now, hub, Duration::ZERO);
        self.round_at_hub.insert(key.to_owned());
        let next = self.next_in(key, &self.round_at_hub);
        if next.is_none() {
            self.round_at_hub.clear();
            self.is_refused = true;
        }
        self.next_at_hub = next.filter(|_| !self.operator);
    }

    /// The hub accepts the device.
    pub(super) fn on_accepted(&mut self, now: Instant, key: &str) {
        // A later registration has to learn the present assignment, and not the result of an old operation.
        self.unfinished = None;
        self.is_accepted_meanwhile = true;
        self.connected_at = Some(now);
        self.trials.remove(key);
    }

    /// A connection ends, for any reason.
    pub(super) fn on_closed(&mut self, now: Instant) {
        let lasted = self.connected_at.take().map_or(Duration::ZERO, |it| now - it);
        if lasted >= LASTING {
            (self.failures, self.failing_since) = (0, None);
        }
        if lasted + SECOND >= SETTLED {
            self.rounds = 0;
            self.round_at_hub.clear();
        }
    }

    fn list(&self, key: &str) -> impl Iterator<Item = String> {
        let list = list_of(key);
        let count = self.lists.get(&list).copied().unwrap_or_default();
        (0..count).map(move |it| format!("{list}{it}"))
    }

    /// The credential after `key` that is not in `refused`. The order is a circle.
    fn next_in(&self, key: &str, refused: &BTreeSet<String>) -> Option<String> {
        let all: Vec<String> = self.list(key).collect();
        let at = all.iter().position(|it| it == key)?;
        (1..all.len()).map(|it| &all[(at + it) % all.len()]).find(|it| !refused.contains(*it)).cloned()
    }
}

/// Whether two credentials are of the same list.
fn is_same_list(one: &str, other: &str) -> bool {
    list_of(one) == list_of(other)
}

fn list_of(key: &str) -> char {
    key.chars().next().unwrap_or_default()
}
