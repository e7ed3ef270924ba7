//! Being told what changes.

use mn_ids::{Class, ObjectKey};
use serde::{Deserialize, Serialize};

use crate::{Entry, Owner, Revision, Stored, TableId};

/// What a watch is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// One object, also one that is not there (yet).
    Object(ObjectKey),
    /// Every object of a class.
    Class(Class),
    /// Every object of a class that refers to this one: the ports of a bridge, the routes of a
    /// router.
    Referrers { to: ObjectKey, class: Class },
    /// Every entry of a state table.
    Table(TableId),
    /// The entries of a state table under one key.
    Entry { table: TableId, key: SmallKey },
}

/// The key of a single watched entry: a UUID, as in the tables of the whole cloud.
pub type SmallKey = uuid::Uuid;

/// What changed at one revision, the first picture of newly watched things, or the end of what is
/// watched no more.
///
/// All changes of one revision come in one batch. Versions in between may be skipped: a batch
/// shows the latest state. What it says takes effect in this order: `ended`, `changes`, `complete`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Batch {
    /// The state shown is that of this revision.
    pub revision: Revision,
    /// Selectors that end here, once for each time they were removed: no later batch has anything
    /// by them, and what they alone had matched is among the changes as gone. It may well exist: it
    /// is not known any more.
    pub ended: Vec<Selector>,
    pub changes: Vec<Change>,
    /// Selectors whose whole state this batch (with those before it) has now shown: what was not
    /// mentioned is not there. This is how "absent" is told from "not loaded".
    pub complete: Vec<Selector>,
}

/// One change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Object(ObjectChange),
    Entry(EntryChange),
}

/// An object's new state.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ObjectChange {
    pub key: ObjectKey,
    /// `None`: deleted, or no longer matched by any selector.
    pub stored: Option<Stored>,
}

/// An entry's new state.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EntryChange {
    pub table: TableId,
    pub key: String,
    pub owner: Owner,
    /// `None`: removed.
    pub entry: Option<Entry>,
}

/// What a watch yields.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    Batch(Batch),
    /// The connection to the database is gone; what was shown stays true as far as anyone knows.
    /// The watch resumes by itself.
    Disconnected,
    /// It is back. What follows brings everything up to date.
    Reconnected,
}

/// A watch whose selectors may change while it runs.
#[async_trait::async_trait]
pub trait Watch: Send {
    /// Adds selectors. Their first picture comes in a batch that names them `complete`.
    async fn add(&mut self, selectors: &[Selector]) -> Result<(), crate::ReadError>;

    /// Stops watching. Until the batch that names the selectors `ended` has come, what they match
    /// is told as before: so nobody has to believe something that is not told any more.
    async fn remove(&mut self, selectors: &[Selector]) -> Result<(), crate::ReadError>;

    /// The next event; waits for one. Cancel-safe. `None`: the database is closed for good.
    async fn next(&mut self) -> Option<WatchEvent>;
}
