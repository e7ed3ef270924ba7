//! What a commit wrote: for journals, watches and for undoing it.

use std::sync::Arc;

use mn_ids::{HostId, ObjectKey, Reference};
use serde::{Deserialize, Serialize};

use crate::{Entry, Owner, Revision, Session, SessionId, Stored, TableId};

/// An object with what it refers to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Object {
    #[serde(flatten)]
    pub stored: Stored,
    pub references: Vec<Reference>,
}

/// Names one entry.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct EntryKey {
    pub table: TableId,
    pub key: String,
    pub owner: Owner,
}

/// One thing that was written, with what it was before. `None`: not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed<K, V> {
    pub key: K,
    pub before: Option<V>,
    pub after: Option<V>,
}

/// One thing that was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Object(Changed<ObjectKey, Arc<Object>>),
    Entry(Changed<EntryKey, Entry>),
    Session(Changed<SessionId, Session>),
    /// The last epoch a host had.
    Epoch(Changed<HostId, u64>),
    /// The last number a sequence gave.
    Sequence(Changed<String, u64>),
}

/// A committed transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    pub revision: Revision,
    /// In the order they happened; a thing may be written more than once. Empty: the database is as
    /// it was at this revision.
    pub writes: Vec<Write>,
}

impl<K, V> Changed<K, V> {
    fn undone(self) -> Self {
        Self { key: self.key, before: self.after, after: self.before }
    }
}

impl Write {
    /// The write that takes this one back.
    pub(crate) fn undone(self) -> Self {
        match self {
            Self::Object(changed) => Self::Object(changed.undone()),
            Self::Entry(changed) => Self::Entry(changed.undone()),
            Self::Session(changed) => Self::Session(changed.undone()),
            Self::Epoch(changed) => Self::Epoch(changed.undone()),
            Self::Sequence(changed) => Self::Sequence(changed.undone()),
        }
    }
}
