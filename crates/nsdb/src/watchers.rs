//! Who watches what, and what each has still to be told: a pure state machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use mn_ids::ObjectKey;
use uuid::Uuid;

use crate::database::{Changed, Commit, Database, EntryKey, Object, Write};
use crate::{Batch, Change, Entry, EntryChange, ObjectChange, Revision, Selector, Stored, TableId};

/// Names a watcher.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WatcherId(u64);

/// Every watcher of a database.
#[derive(Debug)]
pub struct Watchers {
    batches_max: usize,
    watchers: HashMap<WatcherId, Watcher>,
    by_selector: HashMap<Selector, BTreeSet<WatcherId>>,
    last: u64,
}

#[derive(Debug, Default)]
struct Watcher {
    selectors: BTreeSet<Selector>,
    queue: VecDeque<Pending>,
}

/// A batch that waits.
#[derive(Debug, Default)]
struct Pending {
    revision: Revision,
    /// Takes effect before the news, `complete` after them.
    ended: Vec<Selector>,
    news: BTreeMap<Subject, News>,
    complete: Vec<Selector>,
}

/// What a change is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Subject {
    Object(ObjectKey),
    Entry(EntryKey),
}

#[derive(Clone, Debug)]
struct News {
    /// Whether the watcher may have been shown it before this batch. If not, and it is gone again,
    /// there is nothing to tell: so a batch is never larger than what there is and was.
    known: bool,
    now: Option<Value>,
}

#[derive(Clone, Debug)]
enum Value {
    Object(Stored),
    Entry(Entry),
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new(Self::BATCHES_MAX)
    }
}

impl Watchers {
    /// Batches that wait for one watcher, unless told otherwise.
    pub const BATCHES_MAX: usize = 64;

    /// No watcher yet. From `batches_max` waiting batches on, the last one takes in what comes: a
    /// slow watcher skips versions and ends at the latest state. Two at least: the first one, which
    /// a shell may be about to hand out, is never added to.
    #[must_use]
    pub fn new(batches_max: usize) -> Self {
        let (watchers, by_selector, last) = Default::default();
        Self { batches_max: batches_max.max(2), watchers, by_selector, last }
    }

    /// A new watcher, of nothing yet.
    pub fn open(&mut self) -> WatcherId {
        self.last += 1;
        let id = WatcherId(self.last);
        self.watchers.insert(id, Watcher::default());
        id
    }

    /// Forgets a watcher.
    pub fn close(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.remove(&id) else { return };
        for selector in watcher.selectors {
            self.unlink(selector, id);
        }
    }

    /// Adds selectors; their first picture is queued as one batch.
    pub fn add(&mut self, id: WatcherId, selectors: &[Selector], database: &Database) {
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        let mut picture = Pending { revision: database.revision(), ..Pending::default() };
        for selector in selectors {
            if watcher.selectors.insert(*selector) {
                self.by_selector.entry(*selector).or_default().insert(id);
                picture.show(*selector, database);
            }
            picture.complete.push(*selector);
        }
        watcher.push(picture, self.batches_max);
    }

    /// Removes selectors. A last batch says that they ended, and that what they alone had matched
    /// is matched no more.
    pub fn remove(&mut self, id: WatcherId, selectors: &[Selector], database: &Database) {
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        let mut removed = selectors.to_vec();
        removed.retain(|selector| watcher.selectors.remove(selector));
        let mut end = Pending { revision: database.revision(), ..Pending::default() };
        for selector in &removed {
            end.hide(*selector, &watcher.selectors, database);
        }
        end.ended.extend_from_slice(selectors);
        watcher.push(end, self.batches_max);
        for selector in removed {
            self.unlink(selector, id);
        }
    }

    /// Queues what a commit changed, one batch a watcher; returns the watchers that have news.
    pub fn publish(&mut self, commit: &Commit) -> Vec<WatcherId> {
        let mut batches: BTreeMap<WatcherId, Pending> = BTreeMap::new();
        for write in &commit.writes {
            match write {
                Write::Object(changed) => self.object(changed, &mut batches),
                Write::Entry(changed) => self.entry(changed, &mut batches),
                Write::Session(_) | Write::Epoch(_) | Write::Sequence(_) => {}
            }
        }
        batches.retain(|_, batch| !batch.news.is_empty());
        let told = batches.keys().copied().collect();
        for (id, batch) in batches {
            if let Some(watcher) = self.watchers.get_mut(&id) {
                watcher.push(Pending { revision: commit.revision, ..batch }, self.batches_max);
            }
        }
        told
    }

    /// The revision of the batch a watcher gets next.
    #[must_use]
    pub fn next_at(&self, id: WatcherId) -> Option<Revision> {
        Some(self.watchers.get(&id)?.queue.front()?.revision)
    }

    /// Takes a watcher's next batch.
    pub fn pop(&mut self, id: WatcherId) -> Option<Batch> {
        self.watchers.get_mut(&id)?.queue.pop_front().map(Pending::into_batch)
    }

    fn unlink(&mut self, selector: Selector, id: WatcherId) {
        if let Some(watchers) = self.by_selector.get_mut(&selector) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.by_selector.remove(&selector);
            }
        }
    }

    fn watching(&self, selectors: impl IntoIterator<Item = Selector>) -> BTreeSet<WatcherId> {
        let sets = selectors.into_iter().filter_map(|selector| self.by_selector.get(&selector));
        sets.flatten().copied().collect()
    }

    fn object(
        &self,
        changed: &Changed<ObjectKey, std::sync::Arc<Object>>,
        batches: &mut BTreeMap<WatcherId, Pending>,
    ) {
        let key = changed.key;
        let matching = |object: Option<&std::sync::Arc<Object>>| {
            self.watching(object.into_iter().flat_map(|object| matching_object(object)))
        };
        let (before, after) = (matching(changed.before.as_ref()), matching(changed.after.as_ref()));
        for id in before.union(&after) {
            let now = changed.after.as_ref().filter(|_| after.contains(id));
            let now = now.map(|object| Value::Object(object.stored.clone()));
            let news = News { known: before.contains(id), now };
            batches.entry(*id).or_default().tell(Subject::Object(key), news);
        }
    }

    fn entry(
        &self,
        changed: &Changed<EntryKey, Entry>,
        batches: &mut BTreeMap<WatcherId, Pending>,
    ) {
        let EntryKey { table, key, .. } = &changed.key;
        for id in self.watching(matching_entry(*table, key)) {
            let now = changed.after.clone().map(Value::Entry);
            let news = News { known: changed.before.is_some(), now };
            batches.entry(id).or_default().tell(Subject::Entry(changed.key.clone()), news);
        }
    }
}

/// Every selector that matches an object.
fn matching_object(object: &Object) -> impl Iterator<Item = Selector> + '_ {
    let key = object.stored.key;
    let referrers = object.references.iter();
    referrers
        .map(move |reference| Selector::Referrers { to: reference.to, class: key.class })
        .chain([Selector::Object(key), Selector::Class(key.class)])
}

/// Every selector that matches an entry of a table.
fn matching_entry(table: TableId, key: &str) -> impl Iterator<Item = Selector> {
    let one = Uuid::try_parse(key).ok().map(|key| Selector::Entry { table, key });
    one.into_iter().chain([Selector::Table(table)])
}

impl Watcher {
    fn push(&mut self, batch: Pending, batches_max: usize) {
        let full = self.queue.len() >= batches_max;
        match self.queue.back_mut() {
            Some(last) if full => last.take_in(batch),
            _ => self.queue.push_back(batch),
        }
    }
}

impl Pending {
    fn tell(&mut self, subject: Subject, news: News) {
        let known = self.news.get(&subject).map_or(news.known, |earlier| earlier.known);
        if known || news.now.is_some() {
            self.news.insert(subject, News { known, ..news });
        } else {
            self.news.remove(&subject);
        }
    }

    fn take_in(&mut self, later: Self) {
        self.revision = later.revision;
        if !later.ended.is_empty() {
            let ended: BTreeSet<Selector> = later.ended.iter().copied().collect();
            self.complete.retain(|selector| !ended.contains(selector));
        }
        self.ended.extend(later.ended);
        self.complete.extend(later.complete);
        for (subject, news) in later.news {
            self.tell(subject, news);
        }
    }

    /// Adds the present state of what a selector matches.
    fn show(&mut self, selector: Selector, database: &Database) {
        match selector {
            Selector::Object(key) => self.show_objects(database.get(key)),
            Selector::Class(class) => self.show_objects(database.list(class)),
            Selector::Referrers { to, class } => {
                self.show_objects(database.referrers(to, class));
            }
            Selector::Table(table) => self.show_entries(table, database.entries(table)),
            Selector::Entry { table, key } => {
                self.show_entries(table, database.entries_at(table, &key.to_string()));
            }
        }
    }

    /// Tells the end of what a selector matches and none of the others does.
    fn hide(&mut self, selector: Selector, others: &BTreeSet<Selector>, database: &Database) {
        match selector {
            Selector::Object(key) => self.hide_objects(database.get(key), others, database),
            Selector::Class(class) => self.hide_objects(database.list(class), others, database),
            Selector::Referrers { to, class } => {
                self.hide_objects(database.referrers(to, class), others, database);
            }
            Selector::Table(table) => self.hide_entries(table, database.entries(table), others),
            Selector::Entry { table, key } => {
                let key = key.to_string();
                self.hide_entries(table, database.entries_at(table, &key), others);
            }
        }
    }

    fn hide_objects<'a>(
        &mut self,
        objects: impl IntoIterator<Item = &'a Stored>,
        others: &BTreeSet<Selector>,
        database: &Database,
    ) {
        for stored in objects {
            let Some(object) = database.object(stored.key) else { continue };
            if !matching_object(object).any(|selector| others.contains(&selector)) {
                self.tell(Subject::Object(stored.key), News { known: true, now: None });
            }
        }
    }

    fn hide_entries<'a>(
        &mut self,
        table: TableId,
        entries: impl Iterator<Item = &'a Entry>,
        others: &BTreeSet<Selector>,
    ) {
        for entry in entries {
            if !matching_entry(table, &entry.key).any(|selector| others.contains(&selector)) {
                let key = EntryKey { table, key: entry.key.clone(), owner: entry.owner };
                self.tell(Subject::Entry(key), News { known: true, now: None });
            }
        }
    }

    fn show_objects<'a>(&mut self, objects: impl IntoIterator<Item = &'a Stored>) {
        for stored in objects {
            // Another selector may have shown it earlier.
            let news = News { known: true, now: Some(Value::Object(stored.clone())) };
            self.news.insert(Subject::Object(stored.key), news);
        }
    }

    fn show_entries<'a>(&mut self, table: TableId, entries: impl Iterator<Item = &'a Entry>) {
        for entry in entries {
            let key = EntryKey { table, key: entry.key.clone(), owner: entry.owner };
            let news = News { known: true, now: Some(Value::Entry(entry.clone())) };
            self.news.insert(Subject::Entry(key), news);
        }
    }

    fn into_batch(self) -> Batch {
        let change = |(subject, news): (Subject, News)| match (subject, news.now) {
            (Subject::Object(key), now) => {
                let stored = now.and_then(Value::into_object);
                Change::Object(ObjectChange { key, stored })
            }
            (Subject::Entry(EntryKey { table, key, owner }), now) => {
                let entry = now.and_then(Value::into_entry);
                Change::Entry(EntryChange { table, key, owner, entry })
            }
        };
        let changes = self.news.into_iter().map(change).collect();
        Batch { revision: self.revision, ended: self.ended, changes, complete: self.complete }
    }
}

impl Value {
    fn into_object(self) -> Option<Stored> {
        match self {
            Self::Object(stored) => Some(stored),
            Self::Entry(_) => None,
        }
    }

    fn into_entry(self) -> Option<Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Object(_) => None,
        }
    }
}
