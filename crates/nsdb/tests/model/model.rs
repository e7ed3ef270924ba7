//! The database once more, as slow and plain as can be: no index, no undoing, everything copied.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mn_ids::{Class, HostId, ObjectKey};
use mn_nsdb::{Lifetime, Owner, Revision, Selector, Session, SessionId, Subject, TableId};
use mn_time::Instant;
use uuid::Uuid;

use crate::world::{Thing, host};

pub const GRACE_FOR: Duration = Duration::from_millis(50);
pub const TTL: Duration = Duration::from_millis(30);

#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub thing: Thing,
    pub created: Revision,
    pub version: Revision,
}

/// What an operation of the model is.
#[derive(Clone, Debug)]
pub enum Act {
    Create(ObjectKey, Thing),
    Update(ObjectKey, Thing, Revision),
    Delete(ObjectKey, Option<Revision>),
    Check(ObjectKey, Revision),
    Put(TableId, String, Owner),
    Remove(TableId, String, Owner),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    Exists,
    Missing,
    Conflict,
    Dangling,
    InUse,
    Stale,
    Taken,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub revision: Revision,
    pub objects: BTreeMap<ObjectKey, Object>,
    pub entries: BTreeMap<(TableId, String, Owner), Revision>,
    pub sessions: BTreeMap<HostId, (Session, Instant)>,
    pub epochs: BTreeMap<HostId, u64>,
    graces: BTreeMap<HostId, Instant>,
}

/// A transaction in the making, beside the model it began with.
struct Trial<'a> {
    before: &'a Model,
    now: Model,
    next: Revision,
    written: BTreeSet<ObjectKey>,
    gone: BTreeSet<ObjectKey>,
    /// Whether anything was written at all.
    dirty: bool,
}

impl Model {
    /// The model after a transaction.
    pub fn transact(&self, acts: &[Act]) -> Result<Self, Refusal> {
        let next = Revision(self.revision.0 + 1);
        let (written, gone) = Default::default();
        let mut trial =
            Trial { before: self, now: self.clone(), next, written, gone, dirty: false };
        acts.iter().try_for_each(|act| trial.act(act))?;
        let Trial { mut now, written, gone, dirty, .. } = trial;
        let absent = |to: &ObjectKey| !now.objects.contains_key(to);
        let users = |key: &ObjectKey| now.objects[key].thing.references();
        for key in written.iter().filter(|key| !absent(key)) {
            if users(key).iter().any(|reference| absent(&reference.to)) {
                return Err(Refusal::Dangling);
            }
        }
        for key in now.objects.keys() {
            if users(key)
                .iter()
                .any(|reference| gone.contains(&reference.to) && absent(&reference.to))
            {
                return Err(Refusal::InUse);
            }
        }
        if dirty {
            now.revision = next;
        }
        Ok(now)
    }

    pub fn open(&mut self, host: HostId, id: SessionId, at: Instant) -> Session {
        self.revision.0 += 1;
        let epoch = self.epochs.get(&host).unwrap_or(&0) + 1;
        let session = Session { id, host, epoch, ttl: TTL };
        self.epochs.insert(host, epoch);
        self.sessions.insert(host, (session, at + TTL));
        self.graces.remove(&host);
        let owner = Owner::Host { id: host, epoch };
        let entries = std::mem::take(&mut self.entries).into_iter();
        self.entries = entries
            .map(|((table, key, was), at)| {
                ((table, key, if is_of(was, host) { owner } else { was }), at)
            })
            .collect();
        session
    }

    pub fn close(&mut self, host: HostId, at: Instant) {
        if self.sessions.remove(&host).is_some() {
            self.revision.0 += 1;
            self.entries.retain(|(table, _, owner), _| {
                !is_of(*owner, host) || table.kind.lifetime() != Lifetime::Session
            });
            self.graces.insert(host, at + GRACE_FOR);
        }
    }

    pub fn expire(&mut self, at: Instant) {
        let before = (self.sessions.len(), self.entries.len(), self.revision);
        let over: Vec<HostId> =
            self.graces.iter().filter(|(_, end)| **end <= at).map(|(host, _)| *host).collect();
        for host in over {
            self.graces.remove(&host);
            self.entries.retain(|(table, _, owner), _| {
                !is_of(*owner, host) || table.kind.lifetime() != Lifetime::Grace
            });
        }
        let ended = self.sessions.iter().filter(|(_, (_, end))| *end <= at);
        let ended: Vec<HostId> = ended.map(|(host, _)| *host).collect();
        ended.iter().for_each(|host| self.close(*host, at));
        // However much ends at once, it is one commit.
        self.revision = before.2;
        if (self.sessions.len(), self.entries.len()) != (before.0, before.1) {
            self.revision.0 += 1;
        }
    }

    pub fn restart(&mut self, at: Instant) {
        self.sessions.values_mut().for_each(|(session, end)| *end = at + session.ttl);
        let dead = self.epochs.keys().filter(|host| !self.sessions.contains_key(host));
        self.graces = dead.map(|host| (*host, at + GRACE_FOR)).collect();
    }

    /// The objects that a selector matches.
    pub fn matched(&self, selector: Selector) -> BTreeMap<ObjectKey, Revision> {
        let matches = |(key, object): &(&ObjectKey, &Object)| match selector {
            Selector::Object(one) => **key == one,
            Selector::Class(class) => key.class == class,
            Selector::Referrers { to, class } => {
                key.class == class && object.thing.references().iter().any(|r| r.to == to)
            }
            Selector::Table(_) | Selector::Entry { .. } => false,
        };
        let found = self.objects.iter().filter(matches);
        found.map(|(key, object)| (*key, object.version)).collect()
    }

    /// The entries that a selector matches.
    pub fn matched_entries(
        &self,
        selector: Selector,
    ) -> BTreeMap<(TableId, String, Owner), Revision> {
        let matches = |(table, key, _): &(TableId, String, Owner)| match selector {
            Selector::Table(one) => *table == one,
            Selector::Entry { table: one, key: at } => *table == one && *key == at.to_string(),
            _ => false,
        };
        let found = self.entries.iter().filter(|(name, _)| matches(name));
        found.map(|(name, at)| (name.clone(), *at)).collect()
    }
}

impl Trial<'_> {
    fn act(&mut self, act: &Act) -> Result<(), Refusal> {
        match act {
            Act::Create(key, thing) => {
                if self.now.objects.contains_key(key) {
                    return Err(Refusal::Exists);
                }
                self.write(*key, thing.clone(), self.next);
            }
            Act::Update(key, thing, expected) => {
                let created = self.now.objects.get(key).ok_or(Refusal::Missing)?.created;
                self.expect(key, *expected)?;
                self.write(*key, thing.clone(), created);
            }
            Act::Delete(key, expected) => {
                if !self.now.objects.contains_key(key) && !self.gone.contains(key) {
                    return Err(Refusal::Missing);
                }
                expected.map_or(Ok(()), |expected| self.expect(key, expected))?;
                self.delete(*key);
            }
            Act::Check(key, expected) => self.expect(key, *expected)?,
            Act::Put(table, key, owner) => self.put(*table, key, *owner)?,
            Act::Remove(table, key, owner) => {
                self.dirty |= self.now.entries.remove(&(*table, key.clone(), *owner)).is_some();
            }
        }
        Ok(())
    }

    fn expect(&self, key: &ObjectKey, expected: Revision) -> Result<(), Refusal> {
        let before = self.before.objects.get(key).map_or(Revision::ZERO, |object| object.version);
        if before == expected { Ok(()) } else { Err(Refusal::Conflict) }
    }

    fn write(&mut self, key: ObjectKey, thing: Thing, created: Revision) {
        self.now.objects.insert(key, Object { thing, created, version: self.next });
        self.written.insert(key);
        self.dirty = true;
    }

    fn delete(&mut self, key: ObjectKey) {
        if self.now.objects.remove(&key).is_none() {
            return;
        }
        self.dirty = true;
        self.gone.insert(key);
        self.now.entries.retain(|(table, at, owner), _| {
            let about = match table.kind.subject() {
                Subject::Device(class) => ObjectKey { class, id: table.device },
                Subject::Key(class) => ObjectKey { class, id: at.parse().unwrap_or(Uuid::max()) },
            };
            let of_host = key.class == Class::Host && is_of(*owner, HostId::from_uuid(key.id));
            about != key && !of_host
        });
        if key.class == Class::Host {
            self.now.sessions.remove(&HostId::from_uuid(key.id));
        }
        let keys: Vec<ObjectKey> = self.now.objects.keys().copied().collect();
        for other in keys {
            let Some(object) = self.now.objects.get_mut(&other) else { continue };
            if object.thing.goes_with(key) {
                self.delete(other);
            } else if object.thing.clear(key) {
                object.version = self.next;
            }
        }
    }

    fn put(&mut self, table: TableId, key: &str, owner: Owner) -> Result<(), Refusal> {
        let subject = match table.kind.subject() {
            Subject::Device(class) => ObjectKey { class, id: table.device },
            Subject::Key(class) => ObjectKey { class, id: key.parse().unwrap_or(Uuid::max()) },
        };
        if !self.now.objects.contains_key(&subject) {
            return Err(Refusal::Missing);
        }
        if let Owner::Host { id, epoch } = owner {
            let session = self.now.sessions.get(&id).ok_or(Refusal::Stale)?;
            if session.0.epoch != epoch {
                return Err(Refusal::Stale);
            }
        }
        let another = |other: &Owner| match (*other, owner) {
            (Owner::Host { id: other, .. }, Owner::Host { id, .. }) => other != id,
            (Owner::Host { .. }, Owner::Persistent) => true,
            (Owner::Persistent, _) => false,
        };
        let here = |(at, name, other): &(TableId, String, Owner)| {
            *at == table && name == key && another(other)
        };
        if table.kind.is_exclusive() && self.now.entries.keys().any(here) {
            return Err(Refusal::Taken);
        }
        self.now.entries.insert((table, key.to_owned(), owner), self.next);
        self.dirty = true;
        Ok(())
    }
}

fn is_of(owner: Owner, host: HostId) -> bool {
    matches!(owner, Owner::Host { id, .. } if id == host)
}

/// The owner that host `n` is at present, or was, or an operator.
pub fn owner(model: &Model, n: u8) -> Owner {
    let id = host(n % 3);
    let epoch = model.epochs.get(&id).copied().unwrap_or(1);
    match n % 8 {
        0 => Owner::Persistent,
        1 => Owner::Host { id, epoch: epoch.saturating_sub(1) },
        _ => Owner::Host { id, epoch },
    }
}
