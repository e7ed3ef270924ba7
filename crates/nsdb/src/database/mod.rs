//! The database as a pure state machine: no I/O, no clock.
//!
//! Every engine that keeps its data itself is this with a shell around it.

mod document;
mod dump;
mod session;
mod staging;
mod state;
mod write;

use std::time::Duration;

use mn_ids::{Class, ObjectKey};

pub use dump::{Dump, LoadError};
pub use write::{Changed, Commit, EntryKey, Object, Write};

use session::Timers;
use staging::Staging;
use state::State;

use crate::{Entry, Op, Revision, Session, Stored, TableId, Transaction, TxError};

/// Objects, state tables, sessions and sequences at one revision.
#[derive(Debug)]
pub struct Database {
    pub(crate) state: State,
    timers: Timers,
}

impl Database {
    /// How long entries outlive their owner's session, unless told otherwise.
    pub const GRACE_FOR: Duration = Duration::from_mins(3);

    /// An empty database.
    #[must_use]
    pub fn new(grace_for: Duration) -> Self {
        Self { state: State::default(), timers: Timers::new(grace_for) }
    }

    /// The revision it is at.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.state.revision
    }

    /// See [`crate::Store::get`].
    #[must_use]
    pub fn get(&self, key: ObjectKey) -> Option<&Stored> {
        self.state.objects.get(&key).map(|object| &object.stored)
    }

    /// An object with what it refers to.
    pub(crate) fn object(&self, key: ObjectKey) -> Option<&Object> {
        self.state.objects.get(&key).map(AsRef::as_ref)
    }

    /// See [`crate::Store::list`].
    pub fn list(&self, class: Class) -> impl Iterator<Item = &Stored> {
        self.state.class(class).map(|object| &object.stored)
    }

    /// See [`crate::Store::referrers`].
    pub fn referrers(&self, to: ObjectKey, class: Class) -> impl Iterator<Item = &Stored> {
        self.state.referrers_of(to, class).map(|object| &object.stored)
    }

    /// See [`crate::Store::entries`].
    pub fn entries(&self, table: TableId) -> impl Iterator<Item = &Entry> {
        self.state.entries(table)
    }

    /// The entries of a table under one key.
    pub fn entries_at(&self, table: TableId, key: &str) -> impl Iterator<Item = &Entry> {
        self.state.entries_at(table, key)
    }

    /// The sessions that are alive.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.state.sessions.values()
    }

    /// Does all of a transaction or nothing.
    ///
    /// # Errors
    ///
    /// What refuses it; then everything is as before.
    pub fn transact(&mut self, transaction: Transaction) -> Result<Commit, TxError> {
        check_size(&transaction)?;
        let mut staging = Staging::new(&mut self.state);
        staging.run(transaction)?;
        Ok(staging.commit())
    }

    /// The next number of a sequence.
    pub fn next_number(&mut self, sequence: &str) -> (u64, Commit) {
        let mut staging = Staging::new(&mut self.state);
        let number = staging.state.sequences.get(sequence).map_or(1, |last| last + 1);
        staging.set_sequence(sequence, number);
        (number, staging.commit())
    }
}

fn check_size(transaction: &Transaction) -> Result<(), TxError> {
    let size = |op: &Op| match op {
        Op::Create { json, .. } | Op::Update { json, .. } => json.len(),
        Op::PutEntry { entry, .. } => entry.key.len() + entry.value.len(),
        Op::Delete { .. } | Op::Check { .. } | Op::RemoveEntry { .. } => 0,
    };
    let ops = transaction.ops.len();
    let bytes = transaction.ops.iter().map(size).sum();
    if ops > Transaction::OPS_MAX || bytes > Transaction::BYTES_MAX {
        return Err(TxError::TooLarge { ops, bytes });
    }
    Ok(())
}
