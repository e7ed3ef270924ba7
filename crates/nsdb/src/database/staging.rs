//! A transaction while it happens: applied as it goes, taken back when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mn_ids::{Class, HostId, ObjectKey, OnDelete, Reference};
use uuid::Uuid;

use super::document::Document;
use super::state::State;
use super::write::{Changed, Commit, EntryKey, Object, Write};
use crate::{
    Entry, Op, Owner, Revision, Session, SessionId, Stored, Subject, TableId, Transaction, TxError,
};

/// A transaction in the making. Unless it is committed, everything is as before when it ends.
pub(crate) struct Staging<'a> {
    pub(crate) state: &'a mut State,
    /// What the transaction's revision will be.
    pub(crate) revision: Revision,
    log: Vec<Write>,
    /// The versions objects had before, of those touched.
    before: BTreeMap<ObjectKey, Revision>,
    /// Objects that operations wrote.
    written: BTreeSet<ObjectKey>,
    /// Objects that were deleted, cascades included.
    gone: BTreeSet<ObjectKey>,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(state: &'a mut State) -> Self {
        let revision = Revision(state.revision.0 + 1);
        let (before, written, gone) = Default::default();
        Self { state, revision, log: Vec::new(), before, written, gone }
    }

    /// Does everything a transaction asks for and checks the whole.
    pub(crate) fn run(&mut self, transaction: Transaction) -> Result<(), TxError> {
        for op in transaction.ops {
            self.operation(op)?;
        }
        self.check_written()?;
        self.check_gone()
    }

    /// Keeps what was done. Without a write there is no new revision.
    pub(crate) fn commit(mut self) -> Commit {
        let writes = std::mem::take(&mut self.log);
        if !writes.is_empty() {
            self.state.revision = self.revision;
        }
        Commit { revision: self.state.revision, writes }
    }

    fn write(&mut self, write: Write) {
        self.state.apply(&write);
        self.log.push(write);
    }

    fn operation(&mut self, op: Op) -> Result<(), TxError> {
        match op {
            Op::Create { key, json, references } => self.create(key, json, references),
            Op::Update { key, json, references, expected } => {
                self.update(key, json, references, expected)
            }
            Op::Delete { key, expected } => self.delete(key, expected),
            Op::Check { key, expected } => self.expect(key, expected),
            Op::PutEntry { table, entry } => self.put_entry(table, entry),
            Op::RemoveEntry { table, key, owner } => {
                self.remove_entry(EntryKey { table, key, owner });
                Ok(())
            }
        }
    }

    fn create(
        &mut self,
        key: ObjectKey,
        json: String,
        references: Vec<Reference>,
    ) -> Result<(), TxError> {
        if self.state.objects.contains_key(&key) {
            return Err(TxError::Exists { object: key });
        }
        self.store(key, json, references, self.revision)
    }

    fn update(
        &mut self,
        key: ObjectKey,
        json: String,
        references: Vec<Reference>,
        expected: Revision,
    ) -> Result<(), TxError> {
        let created = match self.state.objects.get(&key) {
            Some(object) => object.stored.created,
            None => return Err(TxError::Missing { object: key }),
        };
        self.expect(key, expected)?;
        self.store(key, json, references, created)
    }

    fn store(
        &mut self,
        key: ObjectKey,
        json: String,
        references: Vec<Reference>,
        created: Revision,
    ) -> Result<(), TxError> {
        check_document(key, &json, &references)?;
        let stored = Stored { key, json: json.into(), created, version: self.revision };
        self.written.insert(key);
        self.put_object(key, Some(Arc::new(Object { stored, references })));
        Ok(())
    }

    fn delete(&mut self, key: ObjectKey, expected: Option<Revision>) -> Result<(), TxError> {
        let there = self.state.objects.contains_key(&key);
        if !there && !self.gone.contains(&key) {
            return Err(TxError::Missing { object: key });
        }
        if let Some(expected) = expected {
            self.expect(key, expected)?;
        }
        let mut doomed = vec![key];
        while let Some(key) = doomed.pop() {
            self.remove(key, &mut doomed)?;
        }
        Ok(())
    }

    /// Removes one object; appends to `doomed` those that go with it.
    fn remove(&mut self, key: ObjectKey, doomed: &mut Vec<ObjectKey>) -> Result<(), TxError> {
        if !self.state.objects.contains_key(&key) {
            return Ok(());
        }
        self.put_object(key, None);
        self.gone.insert(key);
        if key.class == Class::Host {
            self.forget_host(HostId::from_uuid(key.id));
        }
        for entry in self.state.entries_about(key) {
            self.remove_entry(entry);
        }
        let referrers: Vec<ObjectKey> = self.state.referrers(key).collect();
        for from in referrers {
            let Some(object) = self.state.objects.get(&from).cloned() else { continue };
            let mut here = object.references.iter().filter(|reference| reference.to == key);
            if here.any(|reference| reference.on_delete == OnDelete::Cascade) {
                doomed.push(from);
            } else {
                self.clear(&object, key)?;
            }
        }
        Ok(())
    }

    /// Clears the references to `gone` that say so.
    fn clear(&mut self, object: &Object, gone: ObjectKey) -> Result<(), TxError> {
        let key = object.stored.key;
        let clears =
            |reference: &&Reference| reference.to == gone && reference.on_delete == OnDelete::Clear;
        if !object.references.iter().any(|reference| clears(&reference)) {
            return Ok(());
        }
        let corrupt = |reason| TxError::Corrupt { object: key, reason };
        let whole = Document::parse(&object.stored.json).map_err(corrupt)?;
        let mut left = whole.clone();
        for reference in object.references.iter().filter(clears) {
            left.clear(&reference.field, gone.id);
        }
        // A removed element took its other references with it, unless another element has them.
        let stands = |reference: &&Reference| {
            let Reference { field, to, .. } = reference;
            !clears(reference) && (left.mentions(field, to.id) || !whole.mentions(field, to.id))
        };
        let references = object.references.iter().filter(stands).cloned().collect();
        let json = left.to_json().into();
        let stored = Stored { json, version: self.revision, ..object.stored.clone() };
        self.put_object(key, Some(Arc::new(Object { stored, references })));
        Ok(())
    }

    fn put_object(&mut self, key: ObjectKey, after: Option<Arc<Object>>) {
        let before = self.state.objects.get(&key).cloned();
        let version = before.as_ref().map_or(Revision::ZERO, |object| object.stored.version);
        self.before.entry(key).or_insert(version);
        self.write(Write::Object(Changed { key, before, after }));
    }

    /// Fails unless the object's version was this before the transaction.
    fn expect(&self, object: ObjectKey, expected: Revision) -> Result<(), TxError> {
        let now = self.before.get(&object).copied().unwrap_or_else(|| {
            let there = self.state.objects.get(&object);
            there.map_or(Revision::ZERO, |object| object.stored.version)
        });
        if now == expected { Ok(()) } else { Err(TxError::Conflict { object, expected, now }) }
    }

    fn put_entry(&mut self, table: TableId, entry: Entry) -> Result<(), TxError> {
        let subject = match table.kind.subject() {
            Subject::Device(class) => ObjectKey { class, id: table.device },
            Subject::Key(class) => ObjectKey { class, id: canonical(&entry.key) },
        };
        if !self.state.objects.contains_key(&subject) {
            return Err(TxError::Missing { object: subject });
        }
        if let Owner::Host { id: host, epoch } = entry.owner {
            let session = self.state.by_host.get(&host).and_then(|id| self.state.sessions.get(id));
            if session.is_none_or(|session| session.epoch != epoch) {
                return Err(TxError::Stale { host, epoch });
            }
        }
        if table.kind.is_exclusive()
            && let Some(holder) = self.state.holder(table, &entry.key, entry.owner)
        {
            return Err(TxError::Taken { device: table.device, key: entry.key, by: holder });
        }
        let revision = self.revision;
        let key = EntryKey { table, key: entry.key.clone(), owner: entry.owner };
        self.set_entry(key, Some(Entry { revision, ..entry }));
        Ok(())
    }

    pub(crate) fn remove_entry(&mut self, key: EntryKey) {
        self.set_entry(key, None);
    }

    pub(crate) fn set_entry(&mut self, key: EntryKey, after: Option<Entry>) {
        let place = (key.key.clone(), key.owner);
        let before = self.state.tables.get(&key.table).and_then(|table| table.get(&place)).cloned();
        if before.is_some() || after.is_some() {
            self.write(Write::Entry(Changed { key, before, after }));
        }
    }

    pub(crate) fn set_session(&mut self, key: SessionId, after: Option<Session>) {
        let before = self.state.sessions.get(&key).copied();
        self.write(Write::Session(Changed { key, before, after }));
    }

    pub(crate) fn set_epoch(&mut self, key: HostId, epoch: u64) {
        let before = self.state.epochs.get(&key).copied();
        self.write(Write::Epoch(Changed { key, before, after: Some(epoch) }));
    }

    pub(crate) fn set_sequence(&mut self, key: &str, last: u64) {
        let before = self.state.sequences.get(key).copied();
        self.write(Write::Sequence(Changed { key: key.to_owned(), before, after: Some(last) }));
    }

    /// A deleted host's entries and session go; that it had epochs is remembered.
    fn forget_host(&mut self, host: HostId) {
        if let Some(session) = self.state.by_host.get(&host).copied() {
            self.set_session(session, None);
        }
        for entry in self.state.entries_of(host) {
            self.remove_entry(entry);
        }
    }

    /// What operations wrote refers only to what is there.
    fn check_written(&self) -> Result<(), TxError> {
        let objects = self.written.iter().filter_map(|key| self.state.objects.get(key));
        for object in objects {
            for Reference { field, to, .. } in &object.references {
                if !self.state.objects.contains_key(to) {
                    let (from, field) = (object.stored.key, field.clone());
                    return Err(TxError::Dangling { from, field, to: *to });
                }
            }
        }
        Ok(())
    }

    /// Nothing refers to what is gone.
    fn check_gone(&self) -> Result<(), TxError> {
        let gone = self.gone.iter().filter(|key| !self.state.objects.contains_key(key));
        for object in gone.copied() {
            if let Some(user) = self.state.referrers(object).next() {
                let references = &self.state.objects[&user].references;
                let field = references.iter().find(|reference| reference.to == object);
                let field = field.map_or_else(String::new, |reference| reference.field.clone());
                return Err(TxError::InUse { object, user, field });
            }
        }
        Ok(())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        for write in self.log.drain(..).rev() {
            self.state.apply(&write.undone());
        }
    }
}

/// The identifier a key spells as it is printed; nil, which no object has, for any other key.
fn canonical(key: &str) -> Uuid {
    Uuid::try_parse(key).ok().filter(|id| id.to_string() == key).unwrap_or_default()
}

/// A document is an object, and has what a deletion may have to clear where its reference says.
fn check_document(key: ObjectKey, json: &str, references: &[Reference]) -> Result<(), TxError> {
    let invalid = |reason| TxError::Invalid { object: key, reason };
    let document = Document::parse(json).map_err(invalid)?;
    let cleared = references.iter().filter(|reference| reference.on_delete == OnDelete::Clear);
    for Reference { field, to, .. } in cleared {
        if !document.holds(field, to.id) {
            return Err(invalid(format!("{field} does not hold {to}")));
        }
    }
    Ok(())
}
