//! What one write does.

use std::fmt;

use mn_ids::{ObjectKey, Reference};
use serde::{Deserialize, Serialize};

use crate::{Entry, TableId};

/// A moment in the database's history. Every committed transaction has its own; later is greater.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first transaction.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Operations that happen all or not at all, in this order; a later one sees what an earlier one
/// did.
///
/// The engine checks that every object referred to exists when the transaction ends, and does to
/// referring objects what their [`mn_ids::OnDelete`] says when one is deleted: clearing and
/// cascading happen at once, a refusal is decided at the end, so that a later operation may still
/// undo the reference.
///
/// An expected version is that before the transaction; [`Revision::ZERO`] where there was no such
/// object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Transaction {
    pub ops: Vec<Op>,
}

impl Transaction {
    /// The most operations one transaction may have; what cascades is not counted.
    pub const OPS_MAX: usize = 1000;
    /// The most octets its documents may have together.
    pub const BYTES_MAX: usize = 512 * 1024;
}

/// One operation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Makes an object that is not there yet.
    Create { key: ObjectKey, json: String, references: Vec<Reference> },
    /// Replaces an object that is at this version.
    Update { key: ObjectKey, json: String, references: Vec<Reference>, expected: Revision },
    /// Removes an object: at this version, or whatever its version. One that an earlier operation's
    /// cascade removed counts as there.
    Delete { key: ObjectKey, expected: Option<Revision> },
    /// Fails the transaction unless the object is at this version ([`Revision::ZERO`]: unless there is none); for
    /// what a decision read.
    Check { key: ObjectKey, expected: Revision },
    /// Writes an entry of a state table, replacing the same owner's. Its subject
    /// ([`crate::TableKind::subject`]) must be there, and its owner's session of that epoch. In
    /// an exclusive table ([`crate::TableKind::is_exclusive`]) no other host may have the key.
    PutEntry { table: TableId, entry: Entry },
    /// Removes an owner's entry from a state table, if it is there.
    RemoveEntry { table: TableId, key: String, owner: crate::Owner },
}
