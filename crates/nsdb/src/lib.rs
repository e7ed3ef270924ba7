//! The Network State Database: one interface, several engines.
//!
//! An engine keeps *objects* (one JSON document each, with references the engine enforces), *state
//! tables* (entries that agents write: MACs, neighbours, where ports are) and *sessions* (who is
//! alive). Every write is a transaction and gets one revision of a single 64-bit sequence.
//! [`Engine`] keeps everything in this process, in memory or with a [`Journal`]; `conformance` is one suite of tests that every engine passes.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod database;
mod engine;
mod error;
mod store;
mod table;
mod transaction;
mod watch;
pub mod watchers;

pub use engine::{Engine, Journal};
pub use error::{ReadError, Remedy, TxError};
pub use store::{Session, SessionId, Store, Stored};
pub use table::{Entry, Lifetime, Owner, Subject, TableId, TableKind, winner};
pub use transaction::{Op, Revision, Transaction};
pub use watch::{Batch, Change, EntryChange, ObjectChange, Selector, Watch, WatchEvent};
