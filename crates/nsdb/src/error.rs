//! What can go wrong, by who must act.

use std::time::Duration;

use mn_ids::{HostId, ObjectKey};

use crate::{Revision, SessionId};

/// A transaction that was not applied, or, for [`TxError::Undecided`] alone, perhaps was.
///
/// Variants are split by who must act, because that is what callers branch on; see
/// [`TxError::remedy`].
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    /// Another transaction changed an object that this one expects at an earlier version.
    #[error("{object} changed meanwhile: expected at revision {expected}, now at {now}")]
    Conflict { object: ObjectKey, expected: Revision, now: Revision },
    /// The object to create is there already.
    #[error("{object} exists already")]
    Exists { object: ObjectKey },
    /// The object to change or delete is not there.
    #[error("{object} does not exist")]
    Missing { object: ObjectKey },
    /// An object would refer to one that does not exist.
    #[error("{field} of {from} refers to {to}, which does not exist")]
    Dangling { from: ObjectKey, field: String, to: ObjectKey },
    /// An object to be deleted is still referred to.
    #[error("{object} is in use by {user} ({field})")]
    InUse { object: ObjectKey, user: ObjectKey, field: String },
    /// More than [`crate::Transaction::OPS_MAX`] operations or [`crate::Transaction::BYTES_MAX`] octets.
    #[error("a transaction of {ops} operations and {bytes} octets is too large")]
    TooLarge { ops: usize, bytes: usize },
    /// The object's document is not what its references say, or no JSON object.
    #[error("{object} cannot be stored: {reason}")]
    Invalid { object: ObjectKey, reason: String },
    /// An entry of a host's life that is not the host's present session.
    #[error("host {host} has no session of epoch {epoch}")]
    Stale { host: HostId, epoch: u64 },
    /// Another has the entry of a key that is one owner's alone.
    #[error("{key} of {device} is taken by {by}")]
    Taken { device: uuid::Uuid, key: String, by: HostId },
    /// The session has ended.
    #[error("the session {} has ended", .0.0)]
    NoSession(SessionId),
    /// The database could not be reached: the transaction was never sent.
    #[error("the state database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The transaction was sent and the answer was lost.
    #[error("no answer from the state database within {waited:?}")]
    Undecided { waited: Duration },
    /// Stored bytes are not what they should be.
    #[error("stored {object} cannot be decoded: {reason}")]
    Corrupt { object: ObjectKey, reason: String },
    /// The engine's own storage failed.
    #[error("the state database's storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who must act on an error, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    /// The caller, at once: read again, decide again, try again.
    Retry,
    /// The caller, later: try the same again.
    RetryLater,
    /// The caller: find out by reading whether it happened. Repeating it could do it twice.
    ReadBack,
    /// Whoever made the request: it cannot be done as asked.
    ChangeRequest,
    /// The caller: open a session again.
    Reconnect,
    /// An operator: trying again does not help.
    Repair,
}

impl TxError {
    /// Who must act. No `_` arm: a new variant must decide.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Conflict { .. } => Remedy::Retry,
            Self::Exists { .. }
            | Self::Missing { .. }
            | Self::Dangling { .. }
            | Self::InUse { .. }
            | Self::Invalid { .. }
            | Self::Taken { .. }
            | Self::TooLarge { .. } => Remedy::ChangeRequest,
            Self::Stale { .. } | Self::NoSession(_) => Remedy::Reconnect,
            Self::Unavailable(_) => Remedy::RetryLater,
            Self::Undecided { .. } => Remedy::ReadBack,
            Self::Corrupt { .. } | Self::Storage(_) => Remedy::Repair,
        }
    }
}

/// A read that gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database could not be reached.
    #[error("the state database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored bytes are not what they should be.
    #[error("the state database holds something that cannot be read: {0}")]
    Corrupt(String),
    /// The engine's own storage failed.
    #[error("the state database's storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}
