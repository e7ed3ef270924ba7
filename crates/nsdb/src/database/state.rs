//! The data, with its indexes. Every change goes through [`State::apply`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mn_ids::{Class, HostId, ObjectKey};
use uuid::Uuid;

use super::write::{Changed, EntryKey, Object, Write};
use crate::{Entry, Owner, Revision, Session, SessionId, Subject, TableId};

/// What the database holds at one revision.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) objects: BTreeMap<ObjectKey, Arc<Object>>,
    /// (referred to, referring).
    references: BTreeSet<(ObjectKey, ObjectKey)>,
    pub(crate) tables: BTreeMap<TableId, BTreeMap<(String, Owner), Entry>>,
    /// The tables of a device.
    by_device: BTreeSet<(Uuid, TableId)>,
    by_owner: BTreeSet<(Owner, TableId, String)>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) by_host: BTreeMap<HostId, SessionId>,
    pub(crate) epochs: BTreeMap<HostId, u64>,
    pub(crate) sequences: BTreeMap<String, u64>,
}

/// The smallest and the largest identifier.
const IDS: (Uuid, Uuid) = (Uuid::nil(), Uuid::max());

impl State {
    pub(crate) fn class(&self, class: Class) -> impl Iterator<Item = &Arc<Object>> {
        let key = |id| ObjectKey { class, id };
        self.objects.range(key(IDS.0)..=key(IDS.1)).map(|(_, object)| object)
    }

    /// Every object that refers to `to`.
    pub(crate) fn referrers(&self, to: ObjectKey) -> impl Iterator<Item = ObjectKey> {
        let first = ObjectKey { class: Class::ALL[0], id: IDS.0 };
        self.references
            .range((to, first)..)
            .take_while(move |(target, _)| *target == to)
            .map(|(_, from)| *from)
    }

    /// Every object of `class` that refers to `to`.
    pub(crate) fn referrers_of(
        &self,
        to: ObjectKey,
        class: Class,
    ) -> impl Iterator<Item = &Arc<Object>> {
        let key = |id| (to, ObjectKey { class, id });
        let range = self.references.range(key(IDS.0)..=key(IDS.1));
        range.filter_map(|(_, from)| self.objects.get(from))
    }

    pub(crate) fn entries(&self, table: TableId) -> impl Iterator<Item = &Entry> {
        self.tables.get(&table).into_iter().flat_map(BTreeMap::values)
    }

    /// The entries of a table under one key.
    pub(crate) fn entries_at(&self, table: TableId, key: &str) -> impl Iterator<Item = &Entry> {
        let start = (key.to_owned(), Owner::Persistent);
        let entries = self.tables.get(&table).into_iter();
        entries
            .flat_map(move |entries| entries.range(start.clone()..))
            .map_while(move |((at, _), entry)| (at == key).then_some(entry))
    }

    /// Another host than the owner that has an entry of this key.
    pub(crate) fn holder(&self, table: TableId, key: &str, owner: Owner) -> Option<HostId> {
        let host = |owner| match owner {
            Owner::Host { id, .. } => Some(id),
            Owner::Persistent => None,
        };
        let holders = self.entries_at(table, key).filter_map(|entry| host(entry.owner));
        holders.filter(|holder| Some(*holder) != host(owner)).last()
    }

    /// The entries a host wrote, in any of its lives.
    pub(crate) fn entries_of(&self, host: HostId) -> Vec<EntryKey> {
        let owner = |epoch| Owner::Host { id: host, epoch };
        let first = TableId { kind: crate::TableKind::Mac, device: IDS.0 };
        self.by_owner
            .range((owner(0), first, String::new())..)
            .take_while(|(at, ..)| matches!(at, Owner::Host { id, .. } if *id == host))
            .map(|(owner, table, key)| EntryKey { table: *table, key: key.clone(), owner: *owner })
            .collect()
    }

    /// The entries that are about an object and go with it.
    pub(crate) fn entries_about(&self, object: ObjectKey) -> Vec<EntryKey> {
        let mut about = Vec::new();
        let first = TableId { kind: crate::TableKind::Mac, device: IDS.0 };
        let tables = self.by_device.range((object.id, first)..);
        for (_, table) in tables.take_while(|(device, _)| *device == object.id) {
            if table.kind.subject() == Subject::Device(object.class) {
                about.extend(self.entries(*table).map(|entry| name(*table, entry)));
            }
        }
        for table in crate::TableKind::ALL.iter().map(|kind| TableId::global(*kind)) {
            if table.kind.subject() == Subject::Key(object.class) {
                let key = object.id.to_string();
                about.extend(self.entries_at(table, &key).map(|entry| name(table, entry)));
            }
        }
        about
    }

    /// Makes a write happen.
    pub(crate) fn apply(&mut self, write: &Write) {
        match write {
            Write::Object(changed) => self.apply_object(changed),
            Write::Entry(changed) => self.apply_entry(changed),
            Write::Session(changed) => self.apply_session(changed),
            Write::Epoch(changed) => set(&mut self.epochs, changed),
            Write::Sequence(changed) => set(&mut self.sequences, changed),
        }
    }

    fn apply_object(&mut self, changed: &Changed<ObjectKey, Arc<Object>>) {
        for reference in changed.before.iter().flat_map(|object| &object.references) {
            self.references.remove(&(reference.to, changed.key));
        }
        for reference in changed.after.iter().flat_map(|object| &object.references) {
            self.references.insert((reference.to, changed.key));
        }
        set(&mut self.objects, changed);
    }

    fn apply_entry(&mut self, changed: &Changed<EntryKey, Entry>) {
        let EntryKey { table, key, owner } = &changed.key;
        let owned = (*owner, *table, key.clone());
        let place = (key.clone(), *owner);
        if let Some(entry) = &changed.after {
            self.by_owner.insert(owned);
            self.by_device.insert((table.device, *table));
            self.tables.entry(*table).or_default().insert(place, entry.clone());
            return;
        }
        self.by_owner.remove(&owned);
        let Some(entries) = self.tables.get_mut(table) else { return };
        entries.remove(&place);
        if entries.is_empty() {
            self.tables.remove(table);
            self.by_device.remove(&(table.device, *table));
        }
    }

    fn apply_session(&mut self, changed: &Changed<SessionId, Session>) {
        if let Some(session) = &changed.before
            && self.by_host.get(&session.host) == Some(&session.id)
        {
            self.by_host.remove(&session.host);
        }
        if let Some(session) = &changed.after {
            self.by_host.insert(session.host, session.id);
        }
        set(&mut self.sessions, changed);
    }
}

fn name(table: TableId, entry: &Entry) -> EntryKey {
    EntryKey { table, key: entry.key.clone(), owner: entry.owner }
}

fn set<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, changed: &Changed<K, V>) {
    match &changed.after {
        Some(value) => drop(map.insert(changed.key.clone(), value.clone())),
        None => drop(map.remove(&changed.key)),
    }
}
