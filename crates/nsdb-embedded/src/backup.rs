//! Backups: the whole database as one JSON file.

use std::fs;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use mn_nsdb::database::{Database, Dump};
use mn_nsdb::{Engine, ReadError};
use mn_time::Instant;
use serde::{Deserialize, Serialize};

use crate::error::OpenError;
use crate::file::{File, is_missing, keep_name};

/// What the file says of itself.
const NAME: &str = "midonet state database";
const FORMAT: u32 = 1;

#[derive(Deserialize, Serialize)]
struct Backup {
    backup_of: String,
    format: u32,
    #[serde(flatten)]
    dump: Dump,
}

/// A backup that could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{path} cannot be read or written")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is no backup: {reason}")]
    NoBackup { path: PathBuf, reason: String },
    #[error("{path} is there already: a backup is restored to a new database only")]
    NotEmpty { path: PathBuf },
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Writes everything a database holds to a JSON file, which is there whole or not at all.
///
/// # Errors
///
/// [`BackupError`].
pub async fn back_up(engine: &Engine, path: &Path) -> Result<(), BackupError> {
    let dump = engine.dump().await?;
    let path = path.to_owned();
    let write = move || write_backup(dump, &path);
    let written = tokio::task::spawn_blocking(write).await;
    written.unwrap_or_else(|stopped| Err(BackupError::Read(ReadError::Unavailable(stopped.into()))))
}

fn write_backup(dump: Dump, path: &Path) -> Result<(), BackupError> {
    let io = |source| BackupError::Io { path: path.to_owned(), source };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let backup = Backup { backup_of: NAME.to_owned(), format: FORMAT, dump };
    let mut file = BufWriter::new(fs::File::create(&partial).map_err(io)?);
    serde_json::to_writer_pretty(&mut file, &backup).map_err(|error| io(error.into()))?;
    file.flush().map_err(io)?;
    file.get_ref().sync_all().map_err(io)?;
    fs::rename(&partial, path).and_then(|()| keep_name(path)).map_err(io)
}

/// Makes a database file of a backup. Where the backup is of no use, no file is made.
///
/// # Errors
///
/// [`BackupError`]: also where the database file is there already.
pub fn restore(backup: &Path, database: &Path) -> Result<(), BackupError> {
    let dump = read_backup(backup)?;
    if !is_missing(database) {
        return Err(BackupError::NotEmpty { path: database.to_owned() });
    }
    File::create(database, &dump)?;
    Ok(())
}

/// A dump that a database can be loaded from.
fn read_backup(path: &Path) -> Result<Dump, BackupError> {
    let no_backup = |reason: String| BackupError::NoBackup { path: path.to_owned(), reason };
    let file = fs::File::open(path);
    let file = file.map_err(|source| BackupError::Io { path: path.to_owned(), source })?;
    let backup: Backup = serde_json::from_reader(BufReader::new(file))
        .map_err(|error| no_backup(error.to_string()))?;
    if backup.backup_of != NAME || backup.format != FORMAT {
        return Err(no_backup(format!("{} of format {}", backup.backup_of, backup.format)));
    }
    let loaded = Database::load(backup.dump, Database::GRACE_FOR, Instant::ZERO);
    loaded.map(|database| database.dump()).map_err(|error| no_backup(error.to_string()))
}
