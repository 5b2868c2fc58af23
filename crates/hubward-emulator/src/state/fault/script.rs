//! Scripts that define which fault happens at which event.
//!
//! If several scripts apply to an event, a script with a limited number of times has priority over a script without a
//! limit. Among scripts of equal priority, the earliest script has priority.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Fault, Point, UnfitFault};
use crate::state::choices::stable_hash;

/// A fault and the events at which it happens. By default, the fault happens once, at the next event of any device.
///
/// ```
/// use hubward_emulator::{Fault, FaultScript, Point};
///
/// let flaky = FaultScript::new(Point::HubPublish, Fault::HoldPuback).device("dev-1").always().probability(0.2, 7);
/// # let _ = flaky;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct FaultScript {
    point: Point,
    fault: Fault,
    device: Option<String>,
    times: Option<u64>,
    chance: Option<(f64, u64)>,
}

impl FaultScript {
    /// Applies this fault to the next event at this point.
    pub const fn new(point: Point, fault: Fault) -> Self {
        Self { point, fault, device: None, times: Some(1), chance: None }
    }

    /// Limits the fault to the events of one device. `device` is a registration id, a device id, or
    /// `{device}/{module}`. A device id also selects the modules of the device.
    ///
    /// Not allowed at points where the emulator does not know the device yet (see [`Point::knows_device`]).
    pub fn device(mut self, id: impl Into<String>) -> Self {
        self.device = Some(id.into());
        self
    }

    /// The fault happens this many times.
    pub const fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Makes the fault happen at every event. Another script with a limited number of times has priority at the same
    /// event.
    ///
    /// A script with neither a limit nor a probability replaces each earlier script of this kind for the same point and
    /// device.
    pub const fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Makes the fault happen only at some events, with a probability from 0 to 1.
    ///
    /// The seed and the device determine at which events the fault happens. If you run a test again with the same seed,
    /// the fault happens at the same events of this device, counted from the start of the script.
    ///
    /// Events of other devices and other scripts do not change this, with two exceptions. If the number of times is
    /// limited, all devices of the script share this number. All clients without a proven identity count as one device.
    pub const fn probability(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, seed));
        self
    }
}

/// One line: `HoldPuback at HubPublish, always, for dev-1`.
impl fmt::Display for FaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.fault.name(), self.point)?;
        match self.times {
            None => f.write_str(", always")?,
            Some(1) => {}
            Some(times) => write!(f, ", {times} times")?,
        }
        if let Some((probability, seed)) = self.chance {
            write!(f, ", with probability {probability} and seed {seed}")?;
        }
        self.device.as_ref().map_or(Ok(()), |device| write!(f, ", for {device}"))
    }
}

/// A script in the emulator, as listed by [`Emulator::faults`](crate::Emulator::faults).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ScriptedFault {
    /// The number of the script.
    pub id: u64,
    /// The point.
    pub point: Point,
    /// The fault.
    pub fault: Fault,
    /// The device to which the script is limited; `None` for all devices.
    pub device: Option<String>,
    /// Remaining number of times; `None` for an unlimited script.
    pub left: Option<u64>,
    /// How often the fault has happened.
    pub happened: u64,
    /// Probability and seed, if the fault happens only at some events.
    pub chance: Option<(f64, u64)>,
}

/// A script that is not valid.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadScript {
    /// The fault cannot happen at this point.
    #[error(transparent)]
    Unfit(#[from] UnfitFault),
    /// The script is limited to a device, but the emulator does not know the device at this point.
    #[error("the device of an event at {point:?} is not known yet; leave the device out")]
    NoDevice {
        /// The point.
        point: Point,
    },
    /// The number of times is 0, or the probability is not between 0 and 1.
    #[error("a fault must happen at least once, with a probability from 0 to 1")]
    Never,
}

hubward_proto::debug_as_error_report!(BadScript);

/// The scripts of all points.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    scripts: Mutex<Scripts>,
}

#[derive(Debug, Default)]
struct Scripts {
    next_id: u64,
    list: Vec<Script>,
}

#[derive(Debug)]
struct Script {
    view: ScriptedFault,
    /// One random generator for each device, by id in lower case. Empty if the script has no probability.
    dice: HashMap<String, fastrand::Rng>,
}

impl Script {
    /// Returns whether the script applies to this event of this device. If the script has a probability, draws a random
    /// number.
    fn applies(&mut self, point: Point, device: Option<&str>, known: bool) -> bool {
        let view = &self.view;
        if view.point != point || !view.device.as_deref().is_none_or(|it| is_of(device, it)) {
            return false;
        }
        if !known && view.fault.affects_device() {
            return false;
        }
        let Some((probability, seed)) = view.chance else { return true };
        // All clients without a proven identity share one generator, because such a client can claim any device id.
        let whose = device.filter(|_| known).unwrap_or_default().to_ascii_lowercase();
        let own = || fastrand::Rng::with_seed(seed ^ stable_hash(&whose));
        self.dice.entry(whose.clone()).or_insert_with(own).f64() < probability
    }
}

/// Returns whether `device` is the device `wanted`, or a module of the device `wanted`. Ignores letter case, as DPS
/// does.
fn is_of(device: Option<&str>, wanted: &str) -> bool {
    let Some(device) = device else { return false };
    let begins = device.get(..wanted.len()).is_some_and(|it| it.eq_ignore_ascii_case(wanted));
    begins && matches!(device.as_bytes().get(wanted.len()), None | Some(b'/'))
}

impl Faults {
    /// Adds a script and returns its number.
    pub(crate) fn script(&self, script: FaultScript) -> Result<u64, BadScript> {
        let FaultScript { point, fault, device, times, chance } = script;
        let fault = fit(point, fault)?;
        if device.is_some() && !point.knows_device() {
            return Err(BadScript::NoDevice { point });
        }
        if times == Some(0) || chance.is_some_and(|(it, _)| !(0.0..=1.0).contains(&it)) {
            return Err(BadScript::Never);
        }
        Ok(self.add(FaultScript { point, fault, device, times, chance }))
    }

    /// Adds a fault for a number of events, or for all events.
    pub(crate) fn plain(&self, point: Point, fault: Fault, times: Option<u64>) -> Result<(), UnfitFault> {
        let fault = fit(point, fault)?;
        self.add(FaultScript { times, ..FaultScript::new(point, fault) });
        Ok(())
    }

    fn add(&self, script: FaultScript) -> u64 {
        let FaultScript { point, fault, device, times, chance } = script;
        let mut scripts = self.scripts();
        if times.is_none() && chance.is_none() {
            scripts.list.retain(|it| {
                let view = &it.view;
                view.point != point || view.device != device || view.left.is_some() || view.chance.is_some()
            });
        }
        scripts.next_id += 1;
        let id = scripts.next_id;
        let view = ScriptedFault { id, point, fault, device, left: times, happened: 0, chance };
        scripts.list.push(Script { view, dice: HashMap::new() });
        id
    }

    /// Removes all scripts and returns how many there were.
    pub(crate) fn clear(&self) -> usize {
        std::mem::take(&mut self.scripts().list).len()
    }

    /// Number of scripts.
    #[cfg(feature = "admin")]
    pub(crate) fn count(&self) -> usize {
        self.scripts().list.len()
    }

    /// Removes a script; returns whether it existed.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut scripts = self.scripts();
        let before = scripts.list.len();
        scripts.list.retain(|it| it.view.id != id);
        scripts.list.len() < before
    }

    /// All scripts.
    pub(crate) fn all(&self) -> Vec<ScriptedFault> {
        self.scripts().list.iter().map(|it| it.view.clone()).collect()
    }

    /// Returns how many times the faults with a limit can still happen at this point. Faults without a limit do not
    /// count.
    pub(crate) fn left(&self, point: Point) -> usize {
        let scripts = self.scripts();
        let left = scripts.list.iter().filter(|it| it.view.point == point).filter_map(|it| it.view.left);
        usize::try_from(left.fold(0, u64::saturating_add)).unwrap_or(usize::MAX)
    }

    /// Returns the fault for the current event, and counts the fault as used. `device` is the device of the event, if
    /// there is one.
    ///
    /// `known` is `true` if the client has proven that it is this device. If `known` is `false`, this function does not
    /// return a fault that changes the device itself.
    pub(crate) fn take(&self, point: Point, device: Option<&str>, known: bool) -> Option<Fault> {
        let mut scripts = self.scripts();
        let list = &mut scripts.list;
        // Let every script draw its random number, even if an earlier script applies already. A script that did not
        // draw would get other random numbers at later events.
        let applying: Vec<bool> = list.iter_mut().map(|it| it.applies(point, device, known)).collect();
        let first = |counted: bool| {
            let mut all = list.iter().zip(&applying);
            all.position(|(it, applies)| *applies && it.view.left.is_some() == counted)
        };
        let at = first(true).or_else(|| first(false))?;
        let view = &mut list[at].view;
        view.happened += 1;
        let fault = view.fault.clone();
        if let Some(left) = &mut view.left {
            *left -= 1;
            if *left == 0 {
                list.remove(at);
            }
        }
        Some(fault)
    }

    fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fit(point: Point, fault: Fault) -> Result<Fault, UnfitFault> {
    if fault.fits(point) { Ok(fault) } else { Err(UnfitFault { fault, point }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(point: Point, fault: Fault) -> FaultScript {
        FaultScript::new(point, fault)
    }

    #[test]
    fn faults_happen_in_order_and_permanent_ones_last() {
        let faults = Faults::default();
        let poll = |faults: &Faults| faults.take(Point::DpsPoll, None, true);
        faults.script(once(Point::DpsPoll, Fault::Cut)).expect("fits");
        faults.script(once(Point::DpsPoll, Fault::Never)).expect("fits");
        assert_eq!((faults.left(Point::DpsPoll), faults.left(Point::DpsRegister)), (2, 0));
        assert_eq!(faults.take(Point::DpsRegister, None, true), None);
        assert_eq!(poll(&faults), Some(Fault::Cut));
        assert_eq!(poll(&faults), Some(Fault::Never));
        assert_eq!(poll(&faults), None);
        faults.script(once(Point::DpsPoll, Fault::Duplicate).always()).expect("fits");
        faults.script(once(Point::DpsPoll, Fault::Stray).always()).expect("fits, and takes its place");
        faults.script(once(Point::DpsPoll, Fault::Cut).times(2)).expect("fits");
        let taken: Vec<_> = (0..4).filter_map(|_| poll(&faults)).collect();
        assert_eq!(taken, [Fault::Cut, Fault::Cut, Fault::Stray, Fault::Stray]);
        let all = faults.all();
        assert_eq!((all.len(), all[0].happened, all[0].left), (1, 2, None));
        assert!(faults.remove(all[0].id) && !faults.remove(all[0].id));
        faults.script(once(Point::DpsPoll, Fault::Cut)).expect("fits");
        faults.clear();
        assert_eq!(poll(&faults), None);
    }

    #[test]
    fn a_script_applies_to_a_device_with_its_modules_or_to_all() {
        let faults = Faults::default();
        for (device, fault) in [("dev-1", Fault::Cut), ("dev-2/m", Fault::Never)] {
            faults.script(once(Point::HubConnect, fault).device(device).always()).expect("fits");
        }
        for (device, expected) in [
            (Some("dev-1"), Some(Fault::Cut)),
            (Some("DEV-1"), Some(Fault::Cut)),
            (Some("dev-1/m"), Some(Fault::Cut)),
            (Some("dev-10"), None),
            (Some("dev-2"), None),
            (Some("dev-2/m"), Some(Fault::Never)),
            (None, None),
        ] {
            assert_eq!(faults.take(Point::HubConnect, device, true), expected, "{device:?}");
        }
        faults.script(once(Point::HubConnect, Fault::Connack(3)).always()).expect("fits");
        assert_eq!(
            faults.take(Point::HubConnect, Some("dev-1"), true),
            Some(Fault::Cut),
            "those named before come first"
        );
        assert_eq!(faults.take(Point::HubConnect, Some("dev-10"), true), Some(Fault::Connack(3)));
        let error =
            faults.script(once(Point::MqttAccept, Fault::Cut).device("dev-1")).expect_err("the device is not known");
        assert_eq!(error, BadScript::NoDevice { point: Point::MqttAccept });
    }

    #[test]
    fn the_same_seed_chooses_the_same_events() {
        let run = |probability, seed| {
            let faults = Faults::default();
            let script = once(Point::HubPublish, Fault::HoldPuback).always().probability(probability, seed);
            faults.script(script).expect("fits");
            (0..1000).map(|_| faults.take(Point::HubPublish, Some("d"), true).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(0.2, 7), run(0.2, 7));
        assert_ne!(run(0.2, 7), run(0.2, 8));
        let count = run(0.2, 7).into_iter().filter(|it| *it).count();
        assert!((150..250).contains(&count), "{count}");
        assert!(run(1.0, 1).into_iter().all(|it| it) && !run(0.0, 1).into_iter().any(|it| it));
    }

    #[test]
    fn faults_of_a_device_do_not_depend_on_other_devices() {
        let run = |others: usize, also: bool| {
            let faults = Faults::default();
            if also {
                let first = once(Point::HubPublish, Fault::Cut).always().probability(0.3, 1);
                faults.script(first).expect("fits");
            }
            let script = once(Point::HubPublish, Fault::HoldPuback).always().probability(0.5, 7);
            faults.script(script).expect("fits");
            let mut happened = Vec::new();
            for _ in 0..200 {
                (0..others).for_each(|it| drop(faults.take(Point::HubPublish, Some(&format!("other-{it}")), true)));
                (0..others).for_each(|_| drop(faults.take(Point::HubPublish, Some("d"), false)));
                happened.push(faults.take(Point::HubPublish, Some("d"), true));
            }
            happened
        };
        let alone = run(0, false);
        assert_eq!(run(3, false), alone);
        for (it, with) in alone.into_iter().zip(run(3, true)) {
            assert!(with == it || with == Some(Fault::Cut), "{it:?} {with:?}");
        }
        let faults = Faults::default();
        faults.script(once(Point::HubPublish, Fault::Cut).always().probability(0.5, 7)).expect("fits");
        let of =
            |id: &str| (0..64).map(|_| faults.take(Point::HubPublish, Some(id), true).is_some()).collect::<Vec<_>>();
        assert_ne!(of("d1"), of("d2"));
    }

    #[test]
    fn a_fault_that_affects_a_device_needs_a_proven_identity() {
        let faults = Faults::default();
        faults.script(once(Point::HubConnect, Fault::DeviceDeleted).device("d1")).expect("fits");
        faults.script(once(Point::HubConnect, Fault::Connack(3))).expect("fits");
        assert_eq!(faults.take(Point::HubConnect, Some("d1"), false), Some(Fault::Connack(3)));
        assert_eq!(faults.take(Point::HubConnect, Some("d1"), false), None);
        assert_eq!(faults.take(Point::HubConnect, Some("d1"), true), Some(Fault::DeviceDeleted));
    }

    #[test]
    fn the_sum_of_times_saturates() {
        let faults = Faults::default();
        for _ in 0..2 {
            faults.script(once(Point::HubPublish, Fault::Cut).times(u64::MAX)).expect("fits");
        }
        assert_eq!(faults.left(Point::HubPublish), usize::MAX);
    }

    #[test]
    fn times_counts_faults_that_happened() {
        let faults = Faults::default();
        faults.script(once(Point::HubPublish, Fault::Cut).times(3).probability(0.5, 1)).expect("fits");
        let happened = (0..100).filter(|_| faults.take(Point::HubPublish, None, true).is_some()).count();
        assert_eq!((happened, faults.all().len()), (3, 0));
    }

    #[test]
    fn invalid_scripts_are_refused() {
        let faults = Faults::default();
        for script in [
            once(Point::DpsPoll, Fault::Cut).times(0),
            once(Point::DpsPoll, Fault::Cut).probability(1.1, 0),
            once(Point::DpsPoll, Fault::Cut).probability(f64::NAN, 0),
        ] {
            assert_eq!(faults.script(script), Err(BadScript::Never));
        }
        for (point, fault) in [
            (Point::HubPublish, Fault::throttled("3")),
            (Point::DpsRegister, Fault::HoldPuback),
            (Point::HttpsAccept, Fault::Connack(5)),
            (Point::HubConnect, Fault::Suback128),
            (Point::DpsService, Fault::Connack(5)),
            (Point::WebSocketUpgrade, Fault::DeviceDeleted),
        ] {
            let expected = UnfitFault { fault: fault.clone(), point };
            assert_eq!(Faults::default().script(once(point, fault)), Err(expected.into()));
        }
    }
}
