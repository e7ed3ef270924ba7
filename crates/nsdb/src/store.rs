//! The interface of every engine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mn_ids::{Class, HostId, ObjectKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Entry, ReadError, Revision, TableId, Transaction, TxError, Watch};

/// An object as it is stored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stored {
    pub key: ObjectKey,
    /// The document.
    pub json: Arc<str>,
    /// When it was made: tells an object from an earlier one with the same key.
    pub created: Revision,
    /// When it was last written: what [`crate::Op::Update`] expects.
    pub version: Revision,
}

/// Names a session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// A host's sign of life. Durable: all timers restart in full when the database comes back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Session {
    pub id: SessionId,
    pub host: HostId,
    /// Greater for every later life of the host's agent.
    pub epoch: u64,
    /// How long the session lives without a sign.
    pub ttl: Duration,
}

/// A state database.
#[async_trait]
pub trait Store: Send + Sync {
    /// One object.
    async fn get(&self, key: ObjectKey) -> Result<Option<Stored>, ReadError>;

    /// Every object of a class, in the order of their ids.
    async fn list(&self, class: Class) -> Result<Vec<Stored>, ReadError>;

    /// Every object of `class` that refers to `to`, in the order of their ids.
    async fn referrers(&self, to: ObjectKey, class: Class) -> Result<Vec<Stored>, ReadError>;

    /// Every entry of a state table, also those that lose to another, in the order of their keys.
    async fn entries(&self, table: TableId) -> Result<Vec<Entry>, ReadError>;

    /// The entries of a state table under one key, of every owner.
    async fn entries_at(&self, table: TableId, key: &str) -> Result<Vec<Entry>, ReadError> {
        let mut entries = self.entries(table).await?;
        entries.retain(|entry| entry.key == key);
        Ok(entries)
    }

    /// Does all of it or nothing. When this returns a revision the transaction survives whatever
    /// happens to this process and machine.
    async fn transact(&self, transaction: Transaction) -> Result<Revision, TxError>;

    /// The next number of a named sequence, never given before. The first is 1.
    async fn next_number(&self, sequence: &str) -> Result<u64, TxError>;

    /// A watch without selectors.
    async fn watch(&self) -> Result<Box<dyn Watch>, ReadError>;

    /// Opens a session for a host, ending one it had, whose entries it takes over.
    ///
    /// The epoch is one more than any the host ever had.
    async fn open_session(&self, host: HostId, ttl: Duration) -> Result<Session, TxError>;

    /// Gives a sign of life. An ended session gives [`TxError::NoSession`].
    async fn renew_session(&self, session: SessionId) -> Result<(), TxError>;

    /// Ends a session at once (a clean stop).
    async fn close_session(&self, session: SessionId) -> Result<(), TxError>;

    /// The sessions that are alive.
    async fn sessions(&self) -> Result<Vec<Session>, ReadError>;
}
