//! The whole database as plain data: for backups, and for engines that load it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mn_ids::{HostId, ObjectKey};
use mn_time::Instant;
use serde::{Deserialize, Serialize};

use super::Database;
use super::write::{Changed, EntryKey, Object, Write};
use crate::{Entry, Revision, Session, TableId};

/// Everything there is. Its JSON is the format of backups.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Dump {
    pub revision: Revision,
    pub objects: Vec<Object>,
    pub entries: Vec<(TableId, Entry)>,
    pub sessions: Vec<Session>,
    /// The last epoch of every host that ever had a session.
    pub epochs: BTreeMap<HostId, u64>,
    /// The last number each sequence gave.
    pub sequences: BTreeMap<String, u64>,
}

/// A dump that no database can have made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0} is there twice")]
    Twice(ObjectKey),
    #[error("{field} of {from} refers to {to}, which is not there")]
    Dangling { from: ObjectKey, field: String, to: ObjectKey },
    #[error("{0} was written at a later revision than the database's own")]
    Future(ObjectKey),
}

impl Database {
    /// Everything there is.
    #[must_use]
    pub fn dump(&self) -> Dump {
        let state = &self.state;
        let entries = state
            .tables
            .iter()
            .flat_map(|(table, entries)| entries.values().map(|entry| (*table, entry.clone())));
        Dump {
            revision: state.revision,
            objects: state.objects.values().map(|object| (**object).clone()).collect(),
            entries: entries.collect(),
            sessions: state.sessions.values().copied().collect(),
            epochs: state.epochs.clone(),
            sequences: state.sequences.clone(),
        }
    }

    /// The database a dump was made of; every timer starts in full.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: it contradicts itself.
    pub fn load(dump: Dump, grace_for: Duration, now: Instant) -> Result<Self, LoadError> {
        let mut database = Self::new(grace_for);
        let state = &mut database.state;
        state.revision = dump.revision;
        state.epochs = dump.epochs;
        state.sequences = dump.sequences;
        for object in dump.objects {
            let key = object.stored.key;
            if object.stored.version > dump.revision {
                return Err(LoadError::Future(key));
            }
            if state.objects.contains_key(&key) {
                return Err(LoadError::Twice(key));
            }
            let after = Some(Arc::new(object));
            state.apply(&Write::Object(Changed { key, before: None, after }));
        }
        for (table, entry) in dump.entries {
            let key = EntryKey { table, key: entry.key.clone(), owner: entry.owner };
            state.apply(&Write::Entry(Changed { key, before: None, after: Some(entry) }));
        }
        for session in dump.sessions {
            let changed = Changed { key: session.id, before: None, after: Some(session) };
            state.apply(&Write::Session(changed));
        }
        database.check_references()?;
        database.start_timers(now);
        Ok(database)
    }

    fn check_references(&self) -> Result<(), LoadError> {
        for object in self.state.objects.values() {
            for reference in &object.references {
                if !self.state.objects.contains_key(&reference.to) {
                    let (from, field) = (object.stored.key, reference.field.clone());
                    return Err(LoadError::Dangling { from, field, to: reference.to });
                }
            }
        }
        Ok(())
    }
}
