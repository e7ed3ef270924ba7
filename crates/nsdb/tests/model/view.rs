//! What a watcher believes, from its batches alone.

use std::collections::{BTreeMap, BTreeSet};

use mn_ids::ObjectKey;
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
    objects: BTreeMap<ObjectKey, Revision>,
    entries: BTreeMap<EntryName, Revision>,
    seen: Revision,
}

impl View {
    pub fn new(watchers: &mut Watchers) -> Self {
        Self {
            id: watchers.open(),
            complete: BTreeSet::new(),
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
        // A picture that took in later batches may tell of the end of what it would have shown.
        let picture = !batch.complete.is_empty();
        for change in batch.changes {
            match change {
                Change::Object(change) => match change.stored {
                    Some(stored) => drop(self.objects.insert(change.key, stored.version)),
                    None => {
                        let known = self.objects.remove(&change.key).is_some();
                        assert!(known || picture, "the end of something that was never shown");
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
    }

    /// Stops watching something; everything was taken before.
    pub fn remove(&mut self, selector: Selector, watchers: &mut Watchers, now: &Model) {
        watchers.remove(self.id, &[selector]);
        self.complete.remove(&selector);
        let matched: BTreeSet<ObjectKey> = self
            .complete
            .iter()
            .flat_map(|selector| now.matched(*selector))
            .map(|(key, _)| key)
            .collect();
        self.objects.retain(|key, _| matched.contains(key));
        let matched: BTreeSet<EntryName> = self
            .complete
            .iter()
            .flat_map(|selector| now.matched_entries(*selector))
            .map(|(name, _)| name)
            .collect();
        self.entries.retain(|name, _| matched.contains(name));
    }
}
