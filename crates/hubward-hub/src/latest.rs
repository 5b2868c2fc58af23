//! The newest desired properties: the task changes them, receivers read them.
//!
//! A change is merged in place, and a reader copies the state when it takes it: many changes between two
//! reads cost one copy, and a change costs what it changes, however large the state is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubward_proto::hub::{Properties, TwinSize, twin};
use hubward_proto::limits;
use hubward_transport::ProtoError;

/// Most bytes of desired properties that a client keeps, as a hub counts them: twice what a hub takes,
/// since how it counts arrays is a guess.
pub(crate) const COUNTED_MAX: usize = 2 * limits::TWIN_PROPERTIES_MAX;

/// Most bytes of desired properties as JSON that a client keeps: also bounds what a hub does not count,
/// such as empty objects and the `null`s of an array.
pub(crate) const JSON_MAX: usize = 4 * limits::TWIN_PROPERTIES_MAX;

/// The newest state that is known.
#[derive(Debug, Default)]
pub(crate) struct Latest(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    state: Option<Arc<Properties>>,
    size: TwinSize,
    /// Counts the states.
    number: u64,
    /// Whole states that were copied for a change.
    #[cfg(test)]
    copies: u64,
}

impl Latest {
    /// Its version; `None` before the first state.
    pub(crate) fn version(&self) -> Option<u64> {
        self.lock().state.as_ref().map(|it| it.version)
    }

    /// How many states there were.
    pub(crate) fn number(&self) -> u64 {
        self.lock().number
    }

    /// The newest state and its number, if it is newer than that number.
    pub(crate) fn newer_than(&self, number: u64) -> Option<(u64, Arc<Properties>)> {
        let known = self.lock();
        known.state.clone().filter(|_| known.number != number).map(|it| (known.number, it))
    }

    /// Replaces the state.
    ///
    /// # Errors
    /// [`ProtoError::TooLarge`]; the old state stays.
    pub(crate) fn replace(&self, state: Properties) -> Result<(), ProtoError> {
        let size = TwinSize::of(&state.values);
        check(size)?;
        let mut known = self.lock();
        if known.state.as_deref() != Some(&state) {
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
        let Some(state) = &known.state else { return Ok(()) };
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
        // Nothing panics while it is held but for want of memory.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Changes the state in place; copies it before if a reader is about to take it.
    fn change(&mut self, change: impl FnOnce(&mut Properties)) {
        let Some(state) = &mut self.state else { return };
        #[cfg(test)]
        if Arc::get_mut(state).is_none() {
            self.copies += 1;
        }
        change(Arc::make_mut(state));
    }
}

fn check(size: TwinSize) -> Result<(), ProtoError> {
    let TwinSize { counted, json, .. } = size;
    if counted > COUNTED_MAX {
        return Err(ProtoError::TooLarge { what: DESIRED, size: counted, limit: COUNTED_MAX });
    }
    check_json(json)
}

/// Checks the size of desired properties, or of a change, as JSON.
///
/// # Errors
/// [`ProtoError::TooLarge`].
pub(crate) const fn check_json(json: usize) -> Result<(), ProtoError> {
    if json > JSON_MAX {
        return Err(ProtoError::TooLarge { what: DESIRED_JSON, size: json, limit: JSON_MAX });
    }
    Ok(())
}

const DESIRED: &str = "the set of desired properties";
const DESIRED_JSON: &str = "the JSON of desired properties";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value, json};

    fn properties(version: u64, values: Value) -> Properties {
        match values {
            Value::Object(values) => Properties::new(version, values),
            other => panic!("{other} is no object"),
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
        let copies = || latest.lock().copies;
        let address = || Arc::as_ptr(latest.lock().state.as_ref().expect("a state"));
        let first = address();
        for version in 2..=30 {
            latest.merge(&change(version)).expect("small");
        }
        assert_eq!((copies(), address()), (0, first), "no reader");

        let (number, held) = latest.newer_than(0).expect("a state");
        assert_eq!((number, held.version, held.values.len()), (30, 30, 29));
        for version in 31..=50 {
            latest.merge(&change(version)).expect("small");
        }
        assert_eq!(copies(), 1, "one read, whatever came after it");
        assert_eq!((held.version, held.values.len()), (30, 29), "readers keep what they were given");
        drop(held);
        let (number, held) = latest.newer_than(number).expect("a newer state");
        assert_eq!((number, held.version), (50, 50));
        drop(held);
        latest.merge(&change(51)).expect("small");
        assert_eq!(copies(), 1, "what is not held any more is not copied");
        assert!(latest.newer_than(51).is_none(), "there is no newer one");
    }

    #[test]
    fn nothing_grows_beyond_the_bound() {
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

    /// A hub's full section, whatever its rules for arrays.
    #[test]
    fn everything_that_a_hub_takes_fits() {
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
