//! A watch across interruptions, as a state machine without I/O.
//!
//! A node forgets a watch whose stream ends. After reconnecting everything is selected anew; the
//! first pictures are gathered until all are complete and shown as *one* batch, with what went away
//! meanwhile. So whoever watches never sees half of a change, nor misses a deletion. That batch also
//! ends what was removed and whose end the old node had not told yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map, hash_map};

use mn_ids::ObjectKey;
use mn_nsdb::{Batch, Change, EntryChange, ObjectChange, Owner, Selector, TableId};

/// Names an entry: its table, key and owner.
type EntryName = (TableId, String, Owner);

/// What is watched, and what the watcher has been shown.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    selectors: BTreeSet<Selector>,
    /// How often each was removed whose ends the node has still to tell.
    ending: BTreeMap<Selector, usize>,
    objects: BTreeSet<ObjectKey>,
    entries: BTreeSet<EntryName>,
    catching_up: Option<CatchingUp>,
}

/// First pictures after a reconnection.
#[derive(Debug)]
struct CatchingUp {
    missing: BTreeSet<Selector>,
    picture: Batch,
    /// Where in the picture a thing is.
    places: HashMap<Name, usize>,
}

impl Resume {
    /// What is watched now.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = Selector> + '_ {
        self.selectors.iter().copied()
    }

    pub(crate) fn add(&mut self, selectors: &[Selector]) {
        for selector in selectors {
            if self.selectors.insert(*selector)
                && let Some(catching_up) = &mut self.catching_up
            {
                catching_up.missing.insert(*selector);
            }
        }
    }

    pub(crate) fn remove(&mut self, selectors: &[Selector]) {
        for selector in selectors {
            self.selectors.remove(selector);
            *self.ending.entry(*selector).or_default() += 1;
            if let Some(catching_up) = &mut self.catching_up {
                catching_up.missing.remove(selector);
            }
        }
    }

    /// The stream is back and everything is selected anew.
    pub(crate) fn reconnected(&mut self) {
        let missing = self.selectors.clone();
        // The new node knows nothing of what was removed: it will tell no end. Nor will it of an end
        // that waited in an earlier picture.
        let untold = self.catching_up.take().map(|earlier| earlier.picture.ended);
        let ended =
            untold.into_iter().flatten().chain(std::mem::take(&mut self.ending).into_keys());
        let picture = Batch { ended: ended.collect(), ..Batch::default() };
        self.catching_up = Some(CatchingUp { missing, picture, places: HashMap::new() });
    }

    /// A batch came; returns what to show.
    pub(crate) fn batch(&mut self, batch: Batch) -> Option<Batch> {
        for ended in &batch.ended {
            if let btree_map::Entry::Occupied(mut times) = self.ending.entry(*ended) {
                *times.get_mut() -= 1;
                if *times.get() == 0 {
                    times.remove();
                }
            }
        }
        let shown = match self.catching_up.take() {
            None => batch,
            Some(mut catching_up) => {
                catching_up.take(batch);
                if !catching_up.missing.is_empty() {
                    self.catching_up = Some(catching_up);
                    return None;
                }
                self.complete(catching_up.picture)
            }
        };
        self.remember(&shown);
        Some(shown)
    }

    /// Adds the deletion of whatever was shown before and is not in the new picture.
    fn complete(&self, mut picture: Batch) -> Batch {
        let mut objects = self.objects.clone();
        let mut entries = self.entries.clone();
        for change in &picture.changes {
            match change {
                Change::Object(change) => {
                    objects.remove(&change.key);
                }
                Change::Entry(change) => {
                    entries.remove(&(change.table, change.key.clone(), change.owner));
                }
            }
        }
        let gone = |key| Change::Object(ObjectChange { key, stored: None });
        picture.changes.extend(objects.into_iter().map(gone));
        picture.changes.extend(entries.into_iter().map(|(table, key, owner)| {
            Change::Entry(EntryChange { table, key, owner, entry: None })
        }));
        picture
    }

    fn remember(&mut self, shown: &Batch) {
        for change in &shown.changes {
            match change {
                Change::Object(ObjectChange { key, stored }) => {
                    set(&mut self.objects, *key, stored.is_some());
                }
                Change::Entry(EntryChange { table, key, owner, entry }) => {
                    set(&mut self.entries, (*table, key.clone(), *owner), entry.is_some());
                }
            }
        }
    }
}

impl CatchingUp {
    /// Lays a batch over the picture: the latest state of each thing stays.
    fn take(&mut self, batch: Batch) {
        self.picture.revision = self.picture.revision.max(batch.revision);
        self.picture.complete.retain(|selector| !batch.ended.contains(selector));
        self.picture.ended.extend(batch.ended);
        for selector in &batch.complete {
            self.missing.remove(selector);
        }
        self.picture.complete.extend(batch.complete);
        for change in batch.changes {
            match self.places.entry(Name::of(&change)) {
                hash_map::Entry::Occupied(place) => self.picture.changes[*place.get()] = change,
                hash_map::Entry::Vacant(place) => {
                    place.insert(self.picture.changes.len());
                    self.picture.changes.push(change);
                }
            }
        }
    }
}

/// What a change is about.
#[derive(Debug, Eq, Hash, PartialEq)]
enum Name {
    Object(ObjectKey),
    Entry(EntryName),
}

impl Name {
    fn of(change: &Change) -> Self {
        match change {
            Change::Object(change) => Self::Object(change.key),
            Change::Entry(change) => Self::Entry((change.table, change.key.clone(), change.owner)),
        }
    }
}

fn set<T: Ord>(items: &mut BTreeSet<T>, item: T, present: bool) {
    if present {
        items.insert(item);
    } else {
        items.remove(&item);
    }
}

#[cfg(test)]
mod tests {
    use mn_ids::Class;
    use mn_nsdb::{Revision, Stored};
    use uuid::Uuid;

    use super::*;

    fn key(n: u128) -> ObjectKey {
        ObjectKey { class: Class::Port, id: Uuid::from_u128(n) }
    }

    fn present(n: u128, version: u64) -> Change {
        let version = Revision(version);
        let stored = Stored { key: key(n), json: "{}".into(), created: version, version };
        Change::Object(ObjectChange { key: key(n), stored: Some(stored) })
    }

    fn gone(n: u128) -> Change {
        Change::Object(ObjectChange { key: key(n), stored: None })
    }

    fn batch(revision: u64, changes: &[Change], complete: &[Selector]) -> Batch {
        Batch {
            revision: Revision(revision),
            ended: Vec::new(),
            changes: changes.to_vec(),
            complete: complete.to_vec(),
        }
    }

    const PORTS: Selector = Selector::Class(Class::Port);
    const ROUTES: Selector = Selector::Class(Class::Route);

    #[test]
    fn while_connected_batches_pass_as_they_are() {
        let mut resume = Resume::default();
        resume.add(&[PORTS]);
        let first = batch(3, &[present(1, 1), present(2, 3)], &[PORTS]);
        assert_eq!(resume.batch(first.clone()), Some(first));
    }

    #[test]
    fn after_an_interruption_one_batch_has_everything_and_what_went_away() {
        let mut resume = Resume::default();
        resume.add(&[PORTS, ROUTES]);
        resume.batch(batch(3, &[present(1, 1), present(2, 3)], &[PORTS, ROUTES]));
        resume.reconnected();
        assert_eq!(resume.batch(batch(8, &[present(2, 7)], &[PORTS])), None);
        // Between the two pictures port 2 changed once more.
        assert_eq!(resume.batch(batch(9, &[present(2, 9)], &[])), None);
        let shown = resume.batch(batch(9, &[present(5, 4)], &[ROUTES]));
        let whole = batch(9, &[present(2, 9), present(5, 4), gone(1)], &[PORTS, ROUTES]);
        assert_eq!(shown, Some(whole));
        assert_eq!(resume.batch(batch(10, &[gone(2)], &[])), Some(batch(10, &[gone(2)], &[])));
    }

    fn end(revision: u64, changes: &[Change], ended: &[Selector]) -> Batch {
        Batch { ended: ended.to_vec(), ..batch(revision, changes, &[]) }
    }

    #[test]
    fn an_end_that_an_interruption_swallowed_is_told_with_the_picture() {
        let mut resume = Resume::default();
        resume.add(&[PORTS, ROUTES]);
        resume.batch(batch(3, &[present(1, 1)], &[PORTS, ROUTES]));
        resume.remove(&[PORTS]);
        resume.reconnected();
        // The second interruption comes before the first picture is whole.
        resume.reconnected();
        let shown = resume.batch(batch(5, &[], &[ROUTES]));
        let whole = Batch { ended: vec![PORTS], ..batch(5, &[gone(1)], &[ROUTES]) };
        assert_eq!(shown, Some(whole));
        // It was told; once is enough.
        resume.reconnected();
        assert_eq!(resume.batch(batch(6, &[], &[ROUTES])), Some(batch(6, &[], &[ROUTES])));
    }

    #[test]
    fn each_removal_has_an_end_of_its_own() {
        let mut resume = Resume::default();
        resume.add(&[PORTS, ROUTES]);
        resume.batch(batch(3, &[present(1, 1)], &[PORTS, ROUTES]));
        resume.remove(&[PORTS]);
        resume.add(&[PORTS]);
        resume.remove(&[PORTS]);
        let first = end(4, &[gone(1)], &[PORTS]);
        assert_eq!(resume.batch(first.clone()), Some(first));
        resume.batch(batch(4, &[present(1, 1)], &[PORTS]));
        // The end of the second removal is lost on the way.
        resume.reconnected();
        let shown = resume.batch(batch(5, &[], &[ROUTES])).expect("the picture is whole");
        assert_eq!((shown.ended, shown.changes), (vec![PORTS], vec![gone(1)]));
    }

    #[test]
    fn what_ended_is_remembered_no_more() {
        let mut resume = Resume::default();
        resume.add(&[PORTS]);
        resume.batch(batch(3, &[present(1, 1), present(2, 3)], &[PORTS]));
        resume.remove(&[PORTS]);
        resume.batch(end(3, &[gone(1), gone(2)], &[PORTS]));
        assert!(resume.objects.is_empty() && resume.ending.is_empty());
    }

    #[test]
    fn what_is_no_longer_watched_is_not_waited_for() {
        let mut resume = Resume::default();
        resume.add(&[PORTS, ROUTES]);
        resume.reconnected();
        resume.remove(&[ROUTES]);
        assert!(resume.batch(batch(1, &[], &[PORTS])).is_some());
    }
}
