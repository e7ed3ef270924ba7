//! What the laws are written with.

use std::sync::Arc;
use std::time::Duration;

use mn_ids::{Class, ObjectKey, OnDelete, Reference};
use serde_json::Value;
use uuid::Uuid;

use super::Fixture;
use crate::{
    Batch, Change, Entry, Op, Owner, Revision, Selector, Store, Stored, TableId, Transaction,
    TxError, Watch, WatchEvent,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A database and short words for what is done to it.
pub(super) struct Scene {
    pub(super) store: Arc<dyn Store>,
}

pub(super) const fn key(class: Class, n: u128) -> ObjectKey {
    ObjectKey { class, id: Uuid::from_u128(n) }
}

pub(super) const fn bridge(n: u128) -> ObjectKey {
    key(Class::Bridge, n)
}

pub(super) const fn port(n: u128) -> ObjectKey {
    key(Class::Port, n)
}

pub(super) const fn chain(n: u128) -> ObjectKey {
    key(Class::Chain, n)
}

/// A field of a document and what it means.
pub(super) type Field<'a> = (&'a str, ObjectKey, OnDelete);

fn references(fields: &[Field<'_>]) -> Vec<Reference> {
    let reference = |(field, to, on_delete): &Field<'_>| Reference {
        field: (*field).to_owned(),
        to: *to,
        on_delete: *on_delete,
    };
    fields.iter().map(reference).collect()
}

pub(super) fn create(key: ObjectKey, json: &Value, fields: &[Field<'_>]) -> Op {
    Op::Create { key, json: json.to_string(), references: references(fields) }
}

pub(super) fn update(key: ObjectKey, json: &Value, fields: &[Field<'_>], expected: Revision) -> Op {
    Op::Update { key, json: json.to_string(), references: references(fields), expected }
}

/// An object without references.
pub(super) fn plain(key: ObjectKey) -> Op {
    create(key, &serde_json::json!({"id": key.id}), &[])
}

/// A port of a bridge, which it goes with.
pub(super) fn port_of(port: ObjectKey, bridge: ObjectKey) -> Op {
    let json = serde_json::json!({"id": port.id, "bridge_id": bridge.id});
    create(port, &json, &[("bridge_id", bridge, OnDelete::Cascade)])
}

pub(super) const fn delete(key: ObjectKey) -> Op {
    Op::Delete { key, expected: None }
}

pub(super) fn put(table: TableId, key: &str, value: &str, owner: Owner) -> Op {
    let (key, value, revision) = (key.to_owned(), value.to_owned(), Revision::ZERO);
    Op::PutEntry { table, entry: Entry { key, value, owner, revision } }
}

impl Scene {
    pub(super) async fn of(fixture: &impl Fixture) -> Self {
        Self { store: fixture.store().await }
    }

    /// Does it; it is not refused.
    pub(super) async fn make(&self, ops: impl IntoIterator<Item = Op>) -> Revision {
        let ops = ops.into_iter().collect();
        self.store.transact(Transaction { ops }).await.expect("nothing refuses this")
    }

    /// Tries it; it is refused.
    pub(super) async fn refused(&self, ops: impl IntoIterator<Item = Op>) -> TxError {
        let ops = ops.into_iter().collect();
        self.store.transact(Transaction { ops }).await.expect_err("this has to be refused")
    }

    pub(super) async fn get(&self, key: ObjectKey) -> Option<Stored> {
        self.store.get(key).await.expect("reading works")
    }

    pub(super) async fn version(&self, key: ObjectKey) -> Revision {
        self.get(key).await.expect("it is there").version
    }

    /// The document of an object that is there.
    pub(super) async fn json(&self, key: ObjectKey) -> Value {
        let stored = self.get(key).await.expect("it is there");
        serde_json::from_str(&stored.json).expect("documents are JSON")
    }

    /// (key, value, owner) of a table's entries.
    pub(super) async fn entries(&self, table: TableId) -> Vec<(String, String, Owner)> {
        let entries = self.store.entries(table).await.expect("reading works");
        entries.into_iter().map(|entry| (entry.key, entry.value, entry.owner)).collect()
    }

    /// A watch that has shown its first picture, and that picture.
    pub(super) async fn watch(&self, selectors: &[Selector]) -> (Watching, Batch) {
        let watch = self.store.watch().await.expect("watching works");
        let mut watching = Watching(watch);
        let picture = watching.add(selectors).await;
        (watching, picture)
    }
}

/// A watch and short words for it.
pub(super) struct Watching(pub(super) Box<dyn Watch>);

impl Watching {
    /// The next batch.
    pub(super) async fn batch(&mut self) -> Batch {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match next.expect("a batch comes in time").expect("the database is not closed") {
                WatchEvent::Batch(batch) => return batch,
                WatchEvent::Disconnected | WatchEvent::Reconnected => {}
            }
        }
    }

    /// Adds selectors and waits until they are complete; gives all that came meanwhile as one.
    pub(super) async fn add(&mut self, selectors: &[Selector]) -> Batch {
        self.0.add(selectors).await.expect("watching works");
        let mut all = Batch::default();
        while !selectors.iter().all(|selector| all.complete.contains(selector)) {
            let batch = self.batch().await;
            all.revision = batch.revision;
            all.ended.extend(batch.ended);
            all.changes.extend(batch.changes);
            all.complete.extend(batch.complete);
        }
        all
    }
}

/// (key, whether it is there) of the objects a batch is about, sorted.
pub(super) fn objects(batch: &Batch) -> Vec<(ObjectKey, bool)> {
    let object = |change: &Change| match change {
        Change::Object(change) => Some((change.key, change.stored.is_some())),
        Change::Entry(_) => None,
    };
    let mut objects: Vec<_> = batch.changes.iter().filter_map(object).collect();
    objects.sort();
    objects
}

/// (key, owner, value if it is there) of the entries a batch is about, sorted.
pub(super) fn entries(batch: &Batch) -> Vec<(String, Owner, Option<String>)> {
    let entry = |change: &Change| match change {
        Change::Entry(change) => {
            let value = change.entry.as_ref().map(|entry| entry.value.clone());
            Some((change.key.clone(), change.owner, value))
        }
        Change::Object(_) => None,
    };
    let mut entries: Vec<_> = batch.changes.iter().filter_map(entry).collect();
    entries.sort();
    entries
}

/// Waits until something is so.
pub(super) async fn eventually(what: &str, mut test: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !test().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, holds).await;
    assert!(in_time.is_ok(), "not within {PATIENCE:?}: {what}");
}
