//! The state database as handlers use it: typed objects, and errors as problems.

use std::sync::Arc;

use mn_ids::{Class, Id, Kind, Object, ObjectKey};
use mn_nsdb::{
    Entry, Op, Owner, ReadError, Revision, Session, Store, Stored, TableId, Transaction,
};
use mn_topology::{Availability, SystemState};

use super::problem::Problem;

/// A state database.
#[derive(Clone)]
pub struct Db(Arc<dyn Store>);

/// An object and the version it was read at.
#[derive(Clone, Debug)]
pub struct Found<T> {
    pub object: T,
    pub version: Revision,
}

impl<T> Found<T> {
    /// The same object changed; its version still says what the change started from.
    pub fn map(self, change: impl FnOnce(T) -> T) -> Self {
        Self { object: change(self.object), version: self.version }
    }
}

impl Db {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// An object that may not be there.
    pub async fn find<T: Object>(&self, id: Id<T::Kind>) -> Result<Option<Found<T>>, Problem> {
        self.0.get(id.into()).await?.map(decode).transpose()
    }

    /// An object that must be there.
    pub async fn get<T: Object>(&self, id: Id<T::Kind>) -> Result<Found<T>, Problem> {
        self.find(id).await?.ok_or_else(|| Problem::no_object(id))
    }

    /// Every object of a kind.
    pub async fn list<T: Object>(&self) -> Result<Vec<Found<T>>, Problem> {
        self.0.list(T::Kind::CLASS).await?.into_iter().map(decode).collect()
    }

    /// Every object of a kind that refers to this one.
    pub async fn referrers<T: Object>(
        &self,
        to: impl Into<ObjectKey> + Send,
    ) -> Result<Vec<Found<T>>, Problem> {
        self.0.referrers(to.into(), T::Kind::CLASS).await?.into_iter().map(decode).collect()
    }

    /// A document as it is stored.
    pub async fn stored(&self, key: ObjectKey) -> Result<Option<Stored>, Problem> {
        Ok(self.0.get(key).await?)
    }

    /// Every document of a class, as stored.
    pub async fn stored_list(&self, class: Class) -> Result<Vec<Stored>, Problem> {
        Ok(self.0.list(class).await?)
    }

    /// Every document of a class that refers to this object, as stored.
    pub async fn stored_referrers(
        &self,
        to: ObjectKey,
        class: Class,
    ) -> Result<Vec<Stored>, Problem> {
        Ok(self.0.referrers(to, class).await?)
    }

    /// Every entry of a state table.
    pub async fn entries(&self, table: TableId) -> Result<Vec<Entry>, Problem> {
        Ok(self.0.entries(table).await?)
    }

    /// The entries of a state table under one key.
    pub async fn entries_at(&self, table: TableId, key: &str) -> Result<Vec<Entry>, Problem> {
        Ok(self.0.entries_at(table, key).await?)
    }

    /// The hosts that are alive.
    pub async fn sessions(&self) -> Result<Vec<Session>, Problem> {
        Ok(self.0.sessions().await?)
    }

    /// The next number of a sequence.
    pub async fn next_number(&self, sequence: &str) -> Result<u64, Problem> {
        Ok(self.0.next_number(sequence).await?)
    }

    /// Does all of it or nothing; nothing while the API is read-only.
    ///
    /// The state that allows it is checked by the transaction too: once `READONLY` was answered,
    /// nothing that began earlier changes anything any more, whichever node it came by.
    pub async fn commit(&self, changes: Changes) -> Result<(), Problem> {
        let found = self.find::<SystemState>(SystemState::ID).await?;
        if found.as_ref().is_some_and(|found| found.object.availability == Availability::ReadOnly) {
            return Err(Problem::read_only());
        }
        let expected = found.map_or(Revision::ZERO, |found| found.version);
        self.commit_always(changes.check_at(SystemState::ID, expected)).await
    }

    /// Does all of it or nothing, also while the API is read-only.
    pub async fn commit_always(&self, changes: Changes) -> Result<(), Problem> {
        self.0.transact(changes.0).await?;
        Ok(())
    }
}

/// Reads a stored document.
pub fn decode<T: Object>(stored: Stored) -> Result<Found<T>, Problem> {
    let object = serde_json::from_str(&stored.json)
        .map_err(|error| Problem::from(ReadError::Corrupt(format!("{}: {error}", stored.key))))?;
    Ok(Found { object, version: stored.version })
}

/// What one request changes, in one transaction.
#[derive(Default)]
pub struct Changes(Transaction);

impl Changes {
    pub fn create<T: Object>(mut self, object: &T) -> Self {
        let (key, json, references) = (object.key(), encode(object), object.references());
        self.0.ops.push(Op::Create { key, json, references });
        self
    }

    pub fn update<T: Object>(mut self, found: &Found<T>) -> Self {
        let Found { object, version: expected } = found;
        let (key, json, references) = (object.key(), encode(object), object.references());
        self.0.ops.push(Op::Update { key, json, references, expected: *expected });
        self
    }

    /// Deletes an object whatever its version.
    pub fn delete(mut self, key: impl Into<ObjectKey>) -> Self {
        self.0.ops.push(Op::Delete { key: key.into(), expected: None });
        self
    }

    /// Fails as a conflict unless the object is still as it was read.
    pub fn check<T: Object>(self, found: &Found<T>) -> Self {
        self.check_at(found.object.key(), found.version)
    }

    /// Fails as a conflict unless the object is at this version; zero: unless there is none.
    fn check_at(mut self, key: impl Into<ObjectKey>, expected: Revision) -> Self {
        self.0.ops.push(Op::Check { key: key.into(), expected });
        self
    }

    /// Writes an entry that stays until it is removed.
    pub fn put_entry(mut self, table: TableId, key: String, value: String) -> Self {
        let revision = Revision::ZERO;
        let entry = Entry { key, value, owner: Owner::Persistent, revision };
        self.0.ops.push(Op::PutEntry { table, entry });
        self
    }

    /// Removes an entry that was put here.
    pub fn remove_entry(self, table: TableId, key: String) -> Self {
        self.remove_entry_of(table, key, Owner::Persistent)
    }

    /// Removes an entry of anybody.
    pub fn remove_entry_of(mut self, table: TableId, key: String, owner: Owner) -> Self {
        self.0.ops.push(Op::RemoveEntry { table, key, owner });
        self
    }
}

fn encode<T: Object>(object: &T) -> String {
    serde_json::to_string(object).expect("objects have string keys and finite numbers only")
}
