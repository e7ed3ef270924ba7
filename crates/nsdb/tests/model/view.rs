//! What a watcher believes, from its batches alone.

use std::collections::{BTreeMap, BTreeSet};

use mn_ids::ObjectKey;
use mn_nsdb::database::Database;
use mn_nsdb::watchers::{WatcherId, Watchers};
use mn_nsdb::{Batch, Change, Owner, Revision, Selector, TableId};

use crate::model::Model;

type EntryName = (TableId, String, Owner);

/// A watcher and its belief.
#[derive(Debug)]
pub struct View {
    pub id: WatcherId,
    /// Selectors whose first picture came.
    complete: BTreeSet<Selector>,
    /// Selectors that were removed and whose end was not told yet.
    ending: Vec<Selector>,
    objects: BTreeMap<ObjectKey, Revision>,
    entries: BTreeMap<EntryName, Revision>,
    seen: Revision,
}

impl View {
    pub fn new(watchers: &mut Watchers) -> Self {
        Self {
            id: watchers.open(),
            complete: BTreeSet::new(),
            ending: Vec::new(),
            objects: BTreeMap::new(),
            entries: BTreeMap::new(),
            seen: Revision::ZERO,
        }
    }

    /// Takes one batch; then it believes what was true at the batch's revision.
    pub fn take(&mut self, watchers: &mut Watchers, history: &BTreeMap<Revision, Model>) -> bool {
        let Some(batch) = watchers.pop(self.id) else { return false };
        assert!(batch.revision >= self.seen, "{:?} back to {:?}", self.seen, batch.revision);
        self.seen = batch.revision;
        self.apply(batch);
        self.check(&history[&self.seen]);
        true
    }

    fn apply(&mut self, batch: Batch) {
        // A picture that took in later batches may tell of the end of what it would have shown, and
        // so may the end of a selector.
        let merged = !(batch.complete.is_empty() && batch.ended.is_empty());
        for ended in &batch.ended {
            let asked = self.ending.iter().position(|selector| selector == ended);
            self.ending.swap_remove(asked.expect("what ends was removed, each time once"));
            self.complete.remove(ended);
        }
        for change in batch.changes {
            match change {
                Change::Object(change) => match change.stored {
                    Some(stored) => drop(self.objects.insert(change.key, stored.version)),
                    None => {
                        let known = self.objects.remove(&change.key).is_some();
                        assert!(known || merged, "the end of something that was never shown");
                    }
                },
                Change::Entry(change) => {
                    let name = (change.table, change.key, change.owner);
                    match change.entry {
                        Some(entry) => drop(self.entries.insert(name, entry.revision)),
                        None => drop(self.entries.remove(&name)),
                    }
                }
            }
        }
        self.complete.extend(batch.complete);
    }

    fn check(&self, truth: &Model) {
        let objects = self.complete.iter().flat_map(|selector| truth.matched(*selector)).collect();
        assert_eq!(self.objects, objects, "at {:?} with {:?}", self.seen, self.complete);
        let entries = self.complete.iter().flat_map(|selector| truth.matched_entries(*selector));
        assert_eq!(self.entries, entries.collect(), "at {:?}", self.seen);
    }

    /// Has nothing more to hear of: it believes what is true now.
    pub fn check_latest(&self, now: &Model) {
        self.check(now);
        assert_eq!(self.ending, [], "every removal has its end");
    }

    /// One of the selectors that are complete.
    pub fn watched(&self, n: u8) -> Option<Selector> {
        self.complete.iter().nth(usize::from(n) % self.complete.len().max(1)).copied()
    }

    /// Stops watching something. It goes on believing by it until it is told of the end.
    pub fn remove(&mut self, selector: Selector, watchers: &mut Watchers, database: &Database) {
        watchers.remove(self.id, &[selector], database);
        self.ending.push(selector);
    }
}
