//! The newest desired properties: the task changes them, receivers read them.
//!
//! Normally, the task merges a change into the state in place, so the cost depends only on the size of the change.
//!
//! If a reader holds the state, the task first copies it. Between two reads, the task makes at most one copy, even for
//! many changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_proto::hub::{Properties, TwinSize, twin};
use hubward_proto::limits;
use hubward_transport::ProtoError;

/// Maximum number of bytes of desired properties that a client keeps, counted as a hub counts them. This is twice what
/// a hub accepts, because this crate can only guess how a hub counts arrays.
pub(crate) const COUNTED_MAX: usize = 2 * limits::TWIN_PROPERTIES_MAX;

/// Maximum number of bytes of desired properties that a client keeps, counted as JSON. This limit also covers values
/// that a hub does not count, such as empty objects and the `null`s of an array.
pub(crate) const JSON_MAX: usize = 4 * limits::TWIN_PROPERTIES_MAX;

const DESIRED: &str = "the set of desired properties";
const DESIRED_JSON: &str = "the JSON of desired properties";

/// The newest known state.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    state: Option<Arc<Properties>>,
    size: TwinSize,
    /// The number of states up to now.
    number: u64,
    /// Whether `state` is the state at an earlier hub.
    is_outdated: bool,
}

impl Latest {
    /// The version of the state; `None` before the first one, and after a move to another hub.
    pub(crate) fn version(&self) -> Option<u64> {
        self.lock().current().map(|it| it.version)
    }

    /// The number of states up to now.
    pub(crate) fn number(&self) -> u64 {
        self.lock().number
    }

    /// Forgets the state, because the client has moved to another hub. The versions of the new hub start over.
    pub(crate) fn on_moved(&self) {
        self.lock().is_outdated = true;
    }

    /// Returns the newest state and its number. Returns `None` if there is no state, if the newest state has this
    /// `number`, or if the client has moved to another hub and does not know the state there.
    pub(crate) fn newer_than(&self, number: u64) -> Option<(u64, Arc<Properties>)> {
        let known = self.lock();
        known.current().cloned().filter(|_| known.number != number).map(|it| (known.number, it))
    }

    /// Replaces the state.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`]; the old state stays.
    pub(crate) fn replace(&self, state: Properties) -> Result<(), ProtoError> {
        let size = TwinSize::of(&state.values);
        check(size)?;
        let mut known = self.lock();
        if known.current().map(|it| &**it) != Some(&state) {
            known.is_outdated = false;
            known.state = Some(Arc::new(state));
            known.size = size;
            known.number += 1;
        }
        Ok(())
    }

    /// Merges a change into the state.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`]; the state stays as it was.
    pub(crate) fn merge(&self, change: &Properties) -> Result<(), ProtoError> {
        let mut known = self.lock();
        let Some(state) = known.current() else { return Ok(()) };
        let size = known.size.after(&state.values, &change.values);
        check(size)?;
        known.size = size;
        known.number += 1;
        known.change(|state| {
            twin::merge(&mut state.values, &change.values);
            state.version = change.version;
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A poisoned lock is usable: no code panics while it holds the lock, except when memory runs out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn current(&self) -> Option<&Arc<Properties>> {
        self.state.as_ref().filter(|_| !self.is_outdated)
    }

    /// Changes the state in place; copies it first if a reader holds it.
    fn change(&mut self, change: impl FnOnce(&mut Properties)) {
        if let Some(state) = &mut self.state {
            change(Arc::make_mut(state));
        }
    }
}

fn check(size: TwinSize) -> Result<(), ProtoError> {
    let TwinSize { counted, json, .. } = size;
    if counted > COUNTED_MAX {
        return Err(ProtoError::TooLarge { what: DESIRED, size: counted, limit: COUNTED_MAX });
    }
    check_json(json)
}

/// Checks the JSON size of desired properties, or of a change of them.
///
/// # Errors
/// [`ProtoError::TooLarge`].
pub(crate) const fn check_json(json: usize) -> Result<(), ProtoError> {
    if json > JSON_MAX {
        return Err(ProtoError::TooLarge { what: DESIRED_JSON, size: json, limit: JSON_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    fn properties(version: u64, values: Value) -> Properties {
        match values {
            Value::Object(values) => Properties::new(version, values),
            other => panic!("{other} is not an object"),
        }
    }

    /// A property of 1 KB that no other change has.
    fn change(version: u64) -> Properties {
        properties(version, json!({ format!("p{version}"): "x".repeat(1000) }))
    }

    #[test]
    fn changes_copy_nothing_unless_a_reader_holds_the_state() {
        let latest = Latest::default();
        latest.replace(properties(1, json!({}))).expect("small");
        // The test detects a copy by a change of the state's address: a copy is made while the original still exists,
        // so it has another address.
        let address = || Arc::as_ptr(latest.lock().state.as_ref().expect("a state"));
        let merge_all = |versions: std::ops::RangeInclusive<u64>| {
            let mut addresses = vec![address()];
            for version in versions {
                latest.merge(&change(version)).expect("small");
                addresses.push(address());
            }
            addresses.dedup();
            addresses.len() - 1
        };
        assert_eq!(merge_all(2..=30), 0, "no reader");

        let (number, held) = latest.newer_than(0).expect("a state");
        assert_eq!((number, held.version, held.values.len()), (30, 30, 29));
        assert_eq!(merge_all(31..=50), 1, "one read costs one copy, however many changes follow");
        assert_eq!((held.version, held.values.len()), (30, 29), "a reader keeps the state that it took");
        drop(held);
        let (number, held) = latest.newer_than(number).expect("a newer state");
        assert_eq!((number, held.version), (50, 50));
        drop(held);
        assert_eq!(merge_all(51..=51), 0, "a state that no reader holds is not copied");
        assert!(latest.newer_than(51).is_none(), "no newer state exists");
    }

    #[test]
    fn a_change_beyond_the_bound_is_refused_and_the_state_stays() {
        let latest = Latest::default();
        latest.replace(properties(1, json!({}))).expect("small");
        let (mut version, mut problem) = (1, None);
        while problem.is_none() {
            version += 1;
            problem = latest.merge(&change(version)).err();
        }
        assert_eq!(latest.version(), Some(version - 1), "the state before it stays");
        let size = TwinSize::of(&latest.newer_than(0).expect("a state").1.values);
        assert_eq!(size, latest.lock().size);
        assert!(size.counted <= COUNTED_MAX && size.counted > COUNTED_MAX - 2000, "{size:?}");
        let text = problem.map(|it| it.to_string()).unwrap_or_default();
        assert!(text.starts_with("the set of desired properties has "), "{text}");
        // A change that removes properties makes room for the next one.
        latest.merge(&properties(version, json!({ "p2": null, "p3": null }))).expect("smaller");
        latest.merge(&change(version + 1)).expect("there is room");

        // A hub does not count empty arrays.
        let nothing = json!({ "a": vec![json!([]); JSON_MAX / 3] });
        for problem in [
            latest.merge(&properties(version + 2, nothing.clone())).expect_err("too large"),
            latest.replace(properties(version + 2, nothing)).expect_err("too large"),
        ] {
            assert!(problem.to_string().starts_with("the JSON of desired properties has "), "{problem}");
        }
        assert_eq!(latest.version(), Some(version + 1));
    }

    /// Tests desired properties of the hub's maximum size, once with each kind of value: booleans, numbers and strings.
    #[test]
    fn a_section_of_the_hubs_maximum_size_fits() {
        let many = |value: &Value, count: usize| -> Value {
            (0..count).map(|it| (format!("{it:04}"), value.clone())).collect::<Map<_, _>>().into()
        };
        let max = limits::TWIN_PROPERTIES_MAX;
        for values in
            [many(&json!(true), max / 8), many(&json!(0.1), max / 12), many(&json!("x".repeat(4092)), max / 4096)]
        {
            let values = properties(1, values);
            assert!(twin::size(&values.values) > max - 4096);
            Latest::default().replace(values).expect("a hub's full section");
        }
    }
}
