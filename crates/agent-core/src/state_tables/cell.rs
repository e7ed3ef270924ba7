//! The entries under one key.

use std::collections::HashMap;
use std::hash::Hash;

use mn_ids::HostId;
use smallvec::SmallVec;

use super::Owner;

/// What every owner wrote under one key, and what this host learned and the table does not show
/// yet.
#[derive(Clone, Debug)]
pub(super) struct Cell<T> {
    ahead: Option<T>,
    entries: SmallVec<[Entry<T>; 1]>,
    /// What was learned up to this revision turned out to be wrong.
    refuted: u64,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    owner: Owner,
    revision: u64,
    value: T,
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self { ahead: None, entries: SmallVec::new(), refuted: 0 }
    }
}

impl<T: Copy + PartialEq> Cell<T> {
    /// The value that counts.
    pub(super) fn get(&self) -> Option<T> {
        self.ahead.or_else(|| self.winner().map(|entry| entry.value))
    }

    /// Whether the value that counts is an operator's.
    pub(super) fn is_static(&self) -> bool {
        let given = |entry: &Entry<T>| entry.owner == Owner::Persistent;
        self.ahead.is_none() && self.winner().is_some_and(given)
    }

    /// What a host wrote.
    pub(super) fn of(&self, host: HostId) -> Option<T> {
        let own = self.entries.iter().find(|entry| entry.owner == Owner::Host(host));
        own.map(|entry| entry.value)
    }

    /// Whether a host has an entry that another's, written later, beats.
    pub(super) fn lost_by(&self, host: HostId) -> bool {
        let mine = self.entries.iter().any(|entry| entry.owner == Owner::Host(host));
        mine && self.winner().is_some_and(|entry| entry.owner != Owner::Host(host))
    }

    fn winner(&self) -> Option<&Entry<T>> {
        let learned = |entry: &&Entry<T>| {
            matches!(entry.owner, Owner::Host(_)) && entry.revision > self.refuted
        };
        self.entries
            .iter()
            .filter(learned)
            .max_by_key(|entry| entry.revision)
            .or_else(|| self.entries.iter().find(|entry| entry.owner == Owner::Persistent))
    }
}

/// Sets or removes one owner's entry. Whether the value that counts changed.
pub(super) fn set<K: Copy + Eq + Hash, T: Copy + PartialEq>(
    cells: &mut HashMap<K, Cell<T>>,
    key: K,
    owner: Owner,
    revision: u64,
    value: Option<T>,
) -> bool {
    let cell = cells.entry(key).or_default();
    let before = cell.get();
    cell.entries.retain(|entry| entry.owner != owner);
    if let Some(value) = value {
        cell.entries.push(Entry { owner, revision, value });
        // The table has caught up: from here on it decides who wins.
        if cell.ahead == Some(value) {
            cell.ahead = None;
        }
    }
    let after = cell.get();
    if after.is_none() && cell.entries.is_empty() {
        cells.remove(&key);
    }
    before != after
}

/// Sets what was learned ahead of the table. Whether the value that counts changed.
pub(super) fn learn<K: Copy + Eq + Hash, T: Copy + PartialEq>(
    cells: &mut HashMap<K, Cell<T>>,
    key: K,
    value: T,
) -> bool {
    let cell = cells.entry(key).or_default();
    if cell.get() == Some(value) {
        return false;
    }
    cell.ahead = Some(value);
    true
}

/// Takes back what was learned ahead of the table. Whether the value that counts changed.
pub(super) fn unlearn<K: Copy + Eq + Hash, T: Copy + PartialEq>(
    cells: &mut HashMap<K, Cell<T>>,
    key: K,
) -> bool {
    change(cells, key, |cell| cell.ahead = None)
}

/// Believes nothing any more of what was learned so far. Whether the value that counts changed.
pub(super) fn refute<K: Copy + Eq + Hash, T: Copy + PartialEq>(
    cells: &mut HashMap<K, Cell<T>>,
    key: K,
) -> bool {
    change(cells, key, |cell| {
        cell.ahead = None;
        let learned = cell.entries.iter().filter(|entry| entry.owner != Owner::Persistent);
        cell.refuted = learned.map(|entry| entry.revision).max().unwrap_or(0);
    })
}

/// Changes the cell of a key, where there is one; one that says nothing any more goes. Whether the
/// value that counts changed.
fn change<K: Copy + Eq + Hash, T: Copy + PartialEq>(
    cells: &mut HashMap<K, Cell<T>>,
    key: K,
    change: impl FnOnce(&mut Cell<T>),
) -> bool {
    let Some(cell) = cells.get_mut(&key) else { return false };
    let before = cell.get();
    change(cell);
    let after = cell.get();
    if after.is_none() && cell.entries.is_empty() {
        cells.remove(&key);
    }
    before != after
}
