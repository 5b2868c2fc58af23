//! A map that records which keys have changed. The store writes the changes to disk.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::{Index, RangeBounds};

/// A change of a key of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableChange {
    Created,
    /// The value was replaced.
    Updated,
    Deleted,
}

/// A sorted map with the methods of [`BTreeMap`].
///
/// A mutable borrow marks the key as changed, even if the value stays the same.
///
/// The table records nothing until [`Table::track`] is called. An emulator with its state in memory never calls
/// [`Table::track`], so it needs no memory for changed keys.
#[derive(Clone)]
pub(crate) struct Table<V> {
    map: BTreeMap<String, V>,
    /// The keys that were marked as changed since the last call of [`Table::drain_touched`]. `None` if the table does
    /// not record changes.
    touched: Option<BTreeMap<String, Touch>>,
    /// Created, updated and deleted keys, for the journal. `None` if the table does not record them.
    changes: Option<Vec<(String, TableChange)>>,
}

/// The change of a key since the last call of [`Table::drain_touched`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Touch {
    /// The value may have changed in place.
    Changed,
    /// The value was inserted or removed. Rows on disk that belong to an earlier value of the key are obsolete.
    Replaced,
}

impl<V> Table<V> {
    /// Starts to record changed keys for the disk.
    pub(crate) fn track(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// Returns the keys that changed since the last call, in order.
    pub(crate) fn drain_touched(&mut self) -> BTreeMap<String, Touch> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether any key has changed since the last call of [`Table::drain_touched`].
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.as_ref().is_some_and(|it| !it.is_empty())
    }

    /// Starts to record created, updated and deleted keys for the journal.
    pub(crate) fn record_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// Returns the keys that were created, updated or deleted since the last call, in the order of the changes.
    pub(crate) fn drain_changes(&mut self) -> Vec<(String, TableChange)> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn record(&mut self, key: &str, change: TableChange) {
        if let Some(all) = &mut self.changes {
            all.push((key.to_owned(), change));
        }
    }

    /// Borrows a value without marking its key as changed. Used for data that is not written to disk.
    pub(crate) fn untouched_mut(&mut self, key: &str) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        String: Borrow<Q>,
    {
        self.map.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let value = self.map.get_mut(key)?;
        touch(&mut self.touched, key, Touch::Changed);
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: String, value: V) -> Option<V> {
        touch(&mut self.touched, &key, Touch::Replaced);
        let known = self.map.contains_key(&key);
        self.record(&key, if known { TableChange::Updated } else { TableChange::Created });
        self.map.insert(key, value)
    }

    /// Returns the value of a key. If the key has no value, inserts the result of `make` and returns this result.
    pub(crate) fn get_or_insert_with(&mut self, key: String, make: impl FnOnce() -> V) -> &mut V {
        match self.map.entry(key) {
            btree_map::Entry::Occupied(entry) => {
                touch(&mut self.touched, entry.key(), Touch::Changed);
                entry.into_mut()
            }
            btree_map::Entry::Vacant(place) => {
                touch(&mut self.touched, place.key(), Touch::Replaced);
                if let Some(all) = &mut self.changes {
                    all.push((place.key().clone(), TableChange::Created));
                }
                place.insert(make())
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<V> {
        let value = self.map.remove(key)?;
        touch(&mut self.touched, key, Touch::Replaced);
        self.record(key, TableChange::Deleted);
        Some(value)
    }

    pub(crate) fn pop_first(&mut self) -> Option<(String, V)> {
        let (key, value) = self.map.pop_first()?;
        touch(&mut self.touched, &key, Touch::Replaced);
        self.record(&key, TableChange::Deleted);
        Some((key, value))
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&String, &mut V) -> bool) {
        let Self { map, touched, changes } = self;
        map.retain(|key, value| {
            let kept = keep(key, value);
            if let Some(changes) = changes.as_mut().filter(|_| !kept) {
                changes.push((key.clone(), TableChange::Deleted));
            }
            touch(touched, key, if kept { Touch::Changed } else { Touch::Replaced });
            kept
        });
    }

    pub(crate) fn clear(&mut self) {
        self.retain(|_, _| false);
    }

    pub(crate) fn contains_key(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn iter(&self) -> btree_map::Iter<'_, String, V> {
        self.map.iter()
    }

    pub(crate) fn keys(&self) -> btree_map::Keys<'_, String, V> {
        self.map.keys()
    }

    pub(crate) fn values(&self) -> btree_map::Values<'_, String, V> {
        self.map.values()
    }

    pub(crate) fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, range: R) -> btree_map::Range<'_, String, V>
    where
        String: Borrow<Q>,
    {
        self.map.range(range)
    }

    pub(crate) fn last_key_value(&self) -> Option<(&String, &V)> {
        self.map.last_key_value()
    }
}

fn touch(touched: &mut Option<BTreeMap<String, Touch>>, key: &str, how: Touch) {
    let Some(touched) = touched else { return };
    match touched.get_mut(key) {
        Some(before) => *before = how.max(*before),
        None => {
            touched.insert(key.to_owned(), how);
        }
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), touched: None, changes: None }
    }
}

impl<V: fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

impl<V> Index<&str> for Table<V> {
    type Output = V;

    fn index(&self, key: &str) -> &V {
        &self.map[key]
    }
}

impl<V> FromIterator<(String, V)> for Table<V> {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(entries: I) -> Self {
        Self { map: entries.into_iter().collect(), touched: None, changes: None }
    }
}

impl<'a, V> IntoIterator for &'a Table<V> {
    type Item = (&'a String, &'a V);
    type IntoIter = btree_map::Iter<'a, String, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a table that contains `a` and `b` and records changed keys. No key is marked as changed yet.
    fn table() -> Table<u32> {
        let mut table: Table<u32> = [("a".to_owned(), 1), ("b".to_owned(), 2)].into_iter().collect();
        table.track();
        table
    }

    #[test]
    fn touched_keys_are_recorded_once() {
        use Touch::{Changed, Replaced};
        type Case = (&'static str, fn(&mut Table<u32>), &'static [(&'static str, Touch)]);
        let cases: [Case; 13] = [
            ("reading", |it| assert!(it.get("a").is_some() && it.iter().count() == 2 && it["b"] == 2), &[]),
            ("get_mut", |it| *it.get_mut("a").expect("there") += 1, &[("a", Changed)]),
            ("get_mut of nothing", |it| assert!(it.get_mut("c").is_none()), &[]),
            ("insert", |it| assert!(it.insert("c".into(), 3).is_none()), &[("c", Replaced)]),
            ("insert in place of another", |it| assert!(it.insert("a".into(), 3).is_some()), &[("a", Replaced)]),
            ("remove", |it| assert_eq!(it.remove("b"), Some(2)), &[("b", Replaced)]),
            ("remove of nothing", |it| assert!(it.remove("c").is_none()), &[]),
            ("pop_first", |it| assert!(it.pop_first().is_some()), &[("a", Replaced)]),
            ("retain", |it| it.retain(|key, _| key == "a"), &[("a", Changed), ("b", Replaced)]),
            ("clear", Table::clear, &[("a", Replaced), ("b", Replaced)]),
            ("get_or_insert_with", |it| *it.get_or_insert_with("a".into(), || 7) += 1, &[("a", Changed)]),
            ("the same of nothing", |it| *it.get_or_insert_with("c".into(), || 7) += 1, &[("c", Replaced)]),
            (
                "several",
                |it| {
                    it.insert("a".into(), 1);
                    it.get_mut("a");
                    it.get_mut("b");
                    it.remove("b");
                },
                &[("a", Replaced), ("b", Replaced)],
            ),
        ];
        for (name, act, expected) in cases {
            let mut table = table();
            act(&mut table);
            assert_eq!(table.is_touched(), !expected.is_empty(), "{name}");
            let touched: Vec<_> = table.drain_touched().into_iter().collect();
            let expected: Vec<_> = expected.iter().map(|&(key, touch)| (key.to_owned(), touch)).collect();
            assert_eq!(touched, expected, "{name}");
            assert!(table.drain_touched().is_empty(), "{name}");
        }
    }

    #[test]
    fn nothing_is_recorded_without_tracking() {
        let mut table: Table<u32> = [("a".to_owned(), 1)].into_iter().collect();
        table.insert("b".into(), 2);
        *table.get_mut("b").expect("there") += 1;
        table.remove("a");
        assert!(!table.is_touched() && table.drain_touched().is_empty());
        assert_eq!(table.range("a".to_owned()..).collect::<Vec<_>>(), [(&"b".to_owned(), &3)]);
    }
}
