//! Limits how many devices of one process connect to a hub at the same time.
//!
//! Each attempt reserves a time before it starts. If a hub loses all its connections at once, the devices connect again
//! one after the other, at the rate that a hub of the smallest size accepts. A few devices never notice the limiter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Length of a slot.
const SLOT: Duration = Duration::from_millis(100);

/// Maximum number of attempts in a slot. A second overlaps at most 11 slots, so it has at most 99 attempts. A hub of
/// size S1 accepts 100 connections a second.
///
/// Source: `[doc]` iot-hub/iot-hub-devguide-quotas-throttling.md, "Device connections".
const PER_SLOT: u8 = 9;

/// Maximum number of slots of a hub: an hour. This is room for 324,000 devices.
const SLOTS_MAX: u64 = 60 * 60 * 10;

/// Maximum number of hubs with slots of their own. Further hubs share their slots.
const HUBS_MAX: usize = 64;

/// The reservations of all devices of a process. Takes at most 2.5 MB.
#[derive(Debug)]
pub(crate) struct ReconnectLimiter {
    /// The begin of the first slot.
    origin: Option<Instant>,
    hubs: Vec<Hub>,
}

/// The reservations at one hub.
#[derive(Debug)]
struct Hub {
    /// The name of the hub; empty for the hubs that share their slots.
    name: String,
    /// The number of the first slot in `slots`.
    first: u64,
    /// The number of reservations in each slot.
    slots: VecDeque<u8>,
}

impl ReconnectLimiter {
    /// Creates a limiter without reservations.
    pub(crate) const fn new() -> Self {
        Self { origin: None, hubs: Vec::new() }
    }

    /// Reserves a time for an attempt to connect to the hub `name`, not before `wait` has passed. Returns how long the
    /// attempt has to wait.
    ///
    /// A wait beyond an hour is not limited, because devices with such a wait are refused, and their waits are random.
    pub(crate) fn reserve(&mut self, name: &str, now: Instant, wait: Duration) -> Duration {
        let origin = *self.origin.get_or_insert(now);
        let (current, wanted) = (slot_at(origin, now), slot_at(origin, now + wait.min(SLOT * u32::MAX)));
        let end = current + SLOTS_MAX;
        if wanted >= end {
            return wait;
        }
        let hub = self.hub(name, current);
        let slot = (wanted..end).find(|it| hub.count(*it) < PER_SLOT).unwrap_or(end);
        if slot < end {
            hub.add(slot);
        }
        if slot == wanted { wait } else { (begin_of(origin, slot)).saturating_duration_since(now) }
    }

    /// Returns the reservations at a hub, from the slot `current` on.
    fn hub(&mut self, name: &str, current: u64) -> &mut Hub {
        for hub in &mut self.hubs {
            hub.forget_before(current);
        }
        self.hubs.retain(|it| !it.slots.is_empty());
        let at = |hubs: &[Hub], name: &str| hubs.iter().position(|it| it.name == name);
        let is_full = self.hubs.len() >= HUBS_MAX;
        let found = at(&self.hubs, name).or_else(|| is_full.then(|| at(&self.hubs, "")).flatten());
        if found.is_none() {
            let name = if is_full { String::new() } else { name.to_owned() };
            self.hubs.push(Hub { name, first: current, slots: VecDeque::new() });
        }
        let last = self.hubs.len() - 1;
        &mut self.hubs[found.unwrap_or(last)]
    }
}

impl Hub {
    fn count(&self, slot: u64) -> u8 {
        let at = slot.checked_sub(self.first).and_then(|it| usize::try_from(it).ok());
        at.and_then(|it| self.slots.get(it)).copied().unwrap_or(0)
    }

    fn add(&mut self, slot: u64) {
        // `slot` is at most `SLOTS_MAX` slots after `first`, because `forget_before` has dropped the slots before.
        let at = usize::try_from(slot.saturating_sub(self.first)).unwrap_or_default();
        if self.slots.len() <= at {
            self.slots.resize(at + 1, 0);
        }
        self.slots[at] += 1;
    }

    fn forget_before(&mut self, current: u64) {
        let passed = usize::try_from(current.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.drain(..passed.min(self.slots.len()));
        self.first = self.first.max(current);
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }
}

fn slot_at(origin: Instant, moment: Instant) -> u64 {
    let slots = moment.saturating_duration_since(origin).as_millis() / SLOT.as_millis();
    u64::try_from(slots).unwrap_or(u64::MAX)
}

fn begin_of(origin: Instant, slot: u64) -> Instant {
    origin + SLOT * u32::try_from(slot).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// The largest number of attempts in any second: in each half-open interval that begins with an attempt.
    fn most_in_a_second(mut attempts: Vec<Duration>) -> usize {
        attempts.sort_unstable();
        let after = |from: &Duration| attempts.partition_point(|it| *it < *from + SECOND);
        attempts.iter().enumerate().map(|(at, it)| after(it) - at).max().unwrap_or(0)
    }

    #[test]
    fn a_lone_device_never_waits_for_the_limiter() {
        let (mut limiter, start) = (ReconnectLimiter::new(), clock());
        for (passed, wait) in [(0, 0), (0, 730), (1_000, 60_000), (1_000, 7_200_000), (100_000_000, 5)] {
            let (passed, wait) = (Duration::from_millis(passed), Duration::from_millis(wait));
            assert_eq!(limiter.reserve("hub-1", start + passed, wait), wait, "{wait:?} after {passed:?}");
        }
        assert_eq!(limiter.reserve("hub-1", start, Duration::MAX), Duration::MAX);
    }

    /// Source: `[doc]` iot-hub/iot-hub-devguide-quotas-throttling.md: 100 connections a second.
    #[test]
    fn a_thousand_devices_that_are_cut_off_at_one_instant_stay_below_a_hundred_attempts_in_every_second() {
        let mut rng = fastrand::Rng::with_seed(7);
        for (case, longest) in [("no back-off", 0.0), ("the first back-off", 1.0), ("the third", 4.0), ("all", 60.0)] {
            let (mut limiter, start) = (ReconnectLimiter::new(), clock());
            let attempts: Vec<Duration> = (0..1_000)
                .map(|_| {
                    let wait = Duration::from_secs_f64(longest * rng.f64());
                    let at = limiter.reserve("hub-1", start, wait);
                    assert!(at >= wait, "{case}: not before the back-off");
                    at
                })
                .collect();
            let end = attempts.iter().max().copied().unwrap_or_default();
            let least = Duration::from_secs_f64(longest + 12.0);
            assert!(end <= least, "{case}: the last attempt is after {end:?}");
            let most = most_in_a_second(attempts);
            assert!(most < 100, "{case}: {most} in a second");
        }
    }

    #[test]
    fn devices_whose_attempts_fail_stay_below_the_limit_too() {
        let (mut limiter, start) = (ReconnectLimiter::new(), clock());
        let mut rng = fastrand::Rng::with_seed(11);
        // Each device fails six times. `due` has the time of the next attempt, and the number of attempts.
        let mut due: std::collections::BTreeMap<(Duration, u32), u32> =
            (0..1_000).map(|it| ((Duration::ZERO, it), 0)).collect();
        let mut attempts = Vec::new();
        while let Some(((at, device), number)) = due.pop_first() {
            if number > 0 {
                attempts.push(at);
            }
            if number < 6 {
                let backoff = SECOND.mul_f64(f64::from(1_u32 << number) * rng.f64());
                due.insert((at + limiter.reserve("hub-1", start + at, backoff), device), number + 1);
            }
        }
        assert_eq!(attempts.len(), 6_000);
        let most = most_in_a_second(attempts);
        assert!((90..100).contains(&most), "{most} in a second");
    }

    #[test]
    fn each_hub_has_its_own_limit() {
        let (mut limiter, now) = (ReconnectLimiter::new(), clock());
        for _ in 0..200 {
            limiter.reserve("hub-1", now, Duration::ZERO);
        }
        assert!(limiter.reserve("hub-1", now, Duration::ZERO) > SECOND);
        assert_eq!(limiter.reserve("hub-2", now, Duration::ZERO), Duration::ZERO);
        // Later, the first hub has room again.
        assert_eq!(limiter.reserve("hub-1", now + 4 * SECOND, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_memory_is_bounded_for_any_number_of_devices_and_hubs() {
        let (mut limiter, now) = (ReconnectLimiter::new(), clock());
        for hub in 0..200 {
            for wait in [0, 3_599, 3_600, 1_000_000] {
                limiter.reserve(&format!("hub-{hub}"), now, Duration::from_secs(wait));
            }
        }
        assert_eq!(limiter.hubs.len(), HUBS_MAX + 1);
        let most = usize::try_from(SLOTS_MAX).expect("a small number");
        assert!(limiter.hubs.iter().all(|it| it.slots.len() <= most));
        // The hubs without slots of their own are limited together.
        let mut waits = (0..20).map(|it| limiter.reserve(&format!("more-{it}"), now, Duration::ZERO));
        assert!(waits.any(|it| !it.is_zero()));
        // More devices than an hour has room for do not wait for longer.
        let mut hub = ReconnectLimiter::new();
        hub.reserve("hub-1", now, Duration::ZERO);
        hub.hubs[0].slots = VecDeque::from(vec![PER_SLOT; most]);
        assert_eq!(hub.reserve("hub-1", now, Duration::ZERO), Duration::from_secs(3_600));
        // When the reservations have passed, nothing is left of them.
        limiter.reserve("hub-1", now + Duration::from_secs(4_000), Duration::ZERO);
        assert_eq!((limiter.hubs.len(), limiter.hubs[0].slots.len()), (1, 1));
    }
}
