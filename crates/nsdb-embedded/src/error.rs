//! Why a database cannot be opened.

use std::path::PathBuf;

use mn_nsdb::database::LoadError;

/// A database that cannot be opened. A file that is no database, or in use, is left alone.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Only one process may have it open.
    #[error("{path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("{path} is no state database")]
    Foreign { path: PathBuf },
    #[error("{path} was written by a later version (format {format}); this one reads format 1")]
    Later { path: PathBuf, format: String },
    #[error("{path} is damaged: {reason}; restore a backup")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} cannot be opened")]
    Io { path: PathBuf, source: std::io::Error },
}

impl OpenError {
    pub(crate) fn damaged(path: PathBuf, reason: impl ToString) -> Self {
        Self::Damaged { path, reason: reason.to_string() }
    }
}

/// What is wrong with what the file holds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is another program's, with a table named {0:?}")]
    Table(String),
    #[error("a record named {0:?}")]
    Unknown(String),
    #[error("record {key:?}: {source}")]
    Record { key: String, source: serde_json::Error },
    #[error("records are missing or altered")]
    Digest,
    #[error(transparent)]
    Contradiction(#[from] LoadError),
    #[error(transparent)]
    Storage(#[from] redb::Error),
}
